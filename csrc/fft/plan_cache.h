// A cache of plans (tables that depend only on a length) between calls.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <utility>

namespace pydlx {

// The limit for all cached plans together. A larger plan is not cached and built again for each call.
constexpr int64_t kCachedPlanBytes = int64_t{8} << 20;

// Least-recently-used cache of shared, immutable plans of any kind.
class PlanCache {
 public:
  using Key = std::pair<const void*, int64_t>;  // kind and length

  std::shared_ptr<const void> find(const Key& key) {
    std::lock_guard<std::mutex> lock(mutex_);
    const auto found = plans_.find(key);
    if (found == plans_.end()) return nullptr;
    found->second.last_use = ++clock_;
    return found->second.plan;
  }

  void keep(const Key& key, std::shared_ptr<const void> plan, int64_t bytes) {
    if (bytes > kCachedPlanBytes) return;
    std::lock_guard<std::mutex> lock(mutex_);
    if (!plans_.emplace(key, Entry{std::move(plan), bytes, ++clock_}).second) return;
    bytes_ += bytes;
    while (bytes_ > kCachedPlanBytes) {
      const auto oldest = std::min_element(plans_.begin(), plans_.end(), [](const auto& a, const auto& b) {
        return a.second.last_use < b.second.last_use;
      });
      bytes_ -= oldest->second.bytes;
      plans_.erase(oldest);
    }
  }

 private:
  struct Entry {
    std::shared_ptr<const void> plan;
    int64_t bytes;
    int64_t last_use;
  };

  std::mutex mutex_;
  std::map<Key, Entry> plans_;
  int64_t bytes_ = 0;
  int64_t clock_ = 0;
};

inline PlanCache& plan_cache() {
  static PlanCache cache;
  return cache;
}

// The plan for this length, built on first use. A plan owns its parts, so its bytes() must include them.
template <class Plan>
std::shared_ptr<const Plan> cached_plan(int64_t length) {
  static const char kind = 0;
  const PlanCache::Key key{&kind, length};
  if (auto found = plan_cache().find(key)) return std::static_pointer_cast<const Plan>(found);
  auto plan = std::make_shared<const Plan>(length);
  plan_cache().keep(key, plan, plan->bytes());
  return plan;
}

}  // namespace pydlx
