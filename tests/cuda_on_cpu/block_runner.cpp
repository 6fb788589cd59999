#include "block_runner.h"

#include <algorithm>
#include <cstdio>
#include <cstring>

#define PYDLX_EMULATOR_DEFINE_THREAD_STATE __attribute__((tls_model("initial-exec"))) __thread
PYDLX_EMULATOR_DEFINE_THREAD_STATE uint3 threadIdx;
PYDLX_EMULATOR_DEFINE_THREAD_STATE uint3 blockIdx;
PYDLX_EMULATOR_DEFINE_THREAD_STATE uint3 blockDim;
PYDLX_EMULATOR_DEFINE_THREAD_STATE uint3 gridDim;

namespace pydlx::emulator {

namespace {

PYDLX_EMULATOR_DEFINE_THREAD_STATE BlockRunner* running = nullptr;

/// Objects that an OS thread reuses from launch to launch.
struct Pool {
  std::vector<std::unique_ptr<Fiber>> fibers;
  std::vector<Fiber*> idle;
  SharedMemory shared_memory;

  Fiber* take(void (*entry)()) {
    if (idle.empty()) {
      fibers.push_back(std::make_unique<Fiber>(entry));
      idle.reserve(fibers.size());
      return fibers.back().get();
    }
    Fiber* fiber = idle.back();
    idle.pop_back();
    return fiber;
  }
};

Pool& pool() {
  static thread_local Pool instance;
  return instance;
}

PYDLX_EMULATOR_DEFINE_THREAD_STATE Fiber* running_fiber = nullptr;

void enter(Fiber* fiber) {
  running_fiber = fiber;
  fiber->resume();
}

bool same(const char* a, const char* b) { return a == b || std::strcmp(a, b) == 0; }

/// "0-31, 40, 48-63"
std::string ranges(const std::vector<int>& numbers) {
  std::string text;
  for (size_t first = 0, last; first < numbers.size(); first = last + 1) {
    last = first;
    while (last + 1 < numbers.size() && numbers[last + 1] == numbers[last] + 1) ++last;
    if (!text.empty()) text += ", ";
    text += std::to_string(numbers[first]);
    if (last > first) text += "-" + std::to_string(numbers[last]);
  }
  return text;
}

}  // namespace

bool Meeting::operator==(const Meeting& other) const {
  return mask == other.mask && site.line == other.site.line && same(operation, other.operation) &&
         same(site.file, other.site.file);
}

std::string Meeting::text() const {
  const char* slash = std::strrchr(site.file, '/');
  const char* file = slash == nullptr ? site.file : slash + 1;
  std::string text = std::string(operation) + " (" + file + ":" + std::to_string(site.line);
  if (mask != 0) {
    char lanes[20];
    std::snprintf(lanes, sizeof(lanes), ", mask 0x%08x", mask);
    text += lanes;
  }
  return text + ")";
}

BlockRunner::BlockRunner(const LaunchShape& shape, void (*run_thread)(void*), void* arguments, Orderer& orderer,
                         unsigned char poison, size_t shared_limit)
    : shape_(shape),
      run_thread_(run_thread),
      arguments_(arguments),
      orderer_(orderer),
      poison_(poison),
      threads_(static_cast<int>(shape.block.x * shape.block.y * shape.block.z)) {
  if (running != nullptr) throw Error("kernel " + shape.name + ": launched from inside a kernel");
  try {
    shared_memory().begin_launch(shape.shared_bytes, shared_limit);
  } catch (const Error& fault) {
    throw Error("kernel " + shape.name + ": " + fault.what());
  }
  index_.reserve(static_cast<size_t>(threads_));
  for (unsigned z = 0; z < shape.block.z; ++z) {
    for (unsigned y = 0; y < shape.block.y; ++y) {
      for (unsigned x = 0; x < shape.block.x; ++x) index_.push_back({x, y, z});
    }
  }
  thread_.resize(static_cast<size_t>(threads_));
  waiting_lanes_.resize(static_cast<size_t>((threads_ + warpSize - 1) / warpSize));
  blockDim = {shape.block.x, shape.block.y, shape.block.z};
  gridDim = {shape.grid.x, shape.grid.y, shape.grid.z};
  running = this;
}

BlockRunner::~BlockRunner() { running = nullptr; }

SharedMemory& BlockRunner::shared_memory() const { return pool().shared_memory; }

void BlockRunner::run(uint3 block) {
  blockIdx = block;
  shared_memory().begin_block(poison_);
  for (Thread& thread : thread_) thread.state = State::kNotStarted;
  returned_ = 0;
  while (returned_ < threads_) {
    orderer_.arrange(warp_order_, static_cast<int>(waiting_lanes_.size()));
    for (int warp : warp_order_) {
      while (run_lanes_once(warp)) continue;
      if (failure_) break;
    }
    if (!failure_ && returned_ < threads_) {
      if (all_at_one_barrier()) {
        release_block();
      } else {
        failure_ = std::make_exception_ptr(error(blocked_threads()));
      }
    }
    if (failure_) {
      abandon_block();
      std::rethrow_exception(failure_);
    }
  }
}

/// Runs each ready lane of the warp until it waits or returns. Returns whether there was one.
bool BlockRunner::run_lanes_once(int warp) {
  warp_ = warp;
  orderer_.arrange(lane_order_, std::min(warpSize, threads_ - warp * warpSize));
  bool ran = false;
  for (turn_ = 0; turn_ < lane_order_.size() && !failure_; ++turn_) {
    become(warp_ * warpSize + lane_order_[turn_]);
    Thread& thread = thread_[static_cast<size_t>(current_)];
    if (thread.state != State::kNotStarted && thread.state != State::kReady) continue;
    ran = true;
    enter(thread.state == State::kNotStarted ? pool().take(&BlockRunner::fiber_main) : thread.fiber);
  }
  return ran;
}

/// A fiber runs threads one after another until one of them waits: threads that never wait share a fiber.
void BlockRunner::fiber_main() {
  for (;;) {
    do {
      running->run_current_thread();
    } while (running->claim_next_lane());
    Fiber* self = running_fiber;
    pool().idle.push_back(self);
    self->suspend();
  }
}

bool BlockRunner::claim_next_lane() {
  if (failure_ || turn_ + 1 >= lane_order_.size()) return false;
  const int next = warp_ * warpSize + lane_order_[turn_ + 1];
  if (thread_[static_cast<size_t>(next)].state != State::kNotStarted) return false;
  ++turn_;
  become(next);
  return true;
}

void BlockRunner::run_current_thread() {
  try {
    run_thread_(arguments_);
  } catch (const Abandoned&) {
  } catch (const Error& fault) {
    if (!failure_) failure_ = std::make_exception_ptr(error(fault.what()));
  } catch (...) {
    if (!failure_) failure_ = std::current_exception();
  }
  thread_[static_cast<size_t>(current_)].state = State::kReturned;
  ++returned_;
}

void BlockRunner::become(int thread) {
  current_ = thread;
  threadIdx = index_[static_cast<size_t>(thread)];
}

const Parcel& BlockRunner::meet(const Meeting& meeting, const Parcel& parcel) {
  Thread& self = thread_[static_cast<size_t>(current_)];
  const unsigned own_lane = 1u << lane();
  if (meeting.mask != 0 && (meeting.mask & own_lane) == 0) {
    throw Error(meeting.text() + " called by thread " + std::to_string(current_) + ", whose lane the mask leaves out");
  }
  self.meeting = meeting;
  self.parcel = parcel;
  self.fiber = running_fiber;
  self.state = State::kWaiting;
  if (meeting.mask == 0) {
    ++at_barrier_;
  } else {
    waiting_lanes_[static_cast<size_t>(warp_)] |= own_lane;
    release_warp();
  }
  if (self.state == State::kWaiting) self.fiber->suspend();
  if (abandoning_) throw Abandoned{};
  return self.parcel;
}

/// If all lanes of the current thread's collective have arrived, delivers the parcels and lets them continue.
void BlockRunner::release_warp() {
  unsigned& waiting = waiting_lanes_[static_cast<size_t>(warp_)];
  Thread* warp = &thread_[static_cast<size_t>(warp_ * warpSize)];
  const Meeting& meeting = warp[lane()].meeting;
  const unsigned members = meeting.mask & lanes_of_warp();
  if ((waiting & members) != members) return;
  unsigned yes = 0;
  for (int i = 0; i < warpSize; ++i) {
    if ((members >> i & 1u) == 0) continue;
    if (!(warp[i].meeting == meeting)) return;
    yes |= static_cast<unsigned>(warp[i].parcel.predicate) << i;
  }
  uint64_t poison;
  std::memset(&poison, poison_, sizeof(poison));
  for (int i = 0; i < warpSize; ++i) {
    if ((members >> i & 1u) == 0) continue;
    Parcel& parcel = warp[i].parcel;
    const bool from_member = parcel.source >= 0 && parcel.source < warpSize && (members >> parcel.source & 1u) != 0;
    parcel.received = from_member ? warp[parcel.source].parcel.sent : poison;
    parcel.yes = yes;
    warp[i].state = State::kReady;
  }
  waiting &= ~members;
}

bool BlockRunner::all_at_one_barrier() const {
  if (at_barrier_ != threads_) return false;
  for (const Thread& thread : thread_) {
    if (!(thread.meeting == thread_[0].meeting)) return false;
  }
  return true;
}

void BlockRunner::release_block() {
  unsigned yes = 0;
  for (const Thread& thread : thread_) yes += thread.parcel.predicate;
  for (Thread& thread : thread_) {
    thread.parcel.yes = yes;
    thread.state = State::kReady;
  }
  at_barrier_ = 0;
}

void BlockRunner::abandon_block() {
  abandoning_ = true;
  for (int i = 0; i < threads_; ++i) {
    Thread& thread = thread_[static_cast<size_t>(i)];
    if (thread.state != State::kWaiting && thread.state != State::kReady) continue;
    become(i);
    enter(thread.fiber);
  }
}

unsigned BlockRunner::lanes_of_warp() const {
  const int lanes = std::min(warpSize, threads_ - warp_ * warpSize);
  return 0xffffffffu >> (warpSize - lanes);
}

unsigned BlockRunner::lanes_not_returned() const {
  unsigned lanes = lanes_of_warp();
  for (int i = 0; i < warpSize && warp_ * warpSize + i < threads_; ++i) {
    if (thread_[static_cast<size_t>(warp_ * warpSize + i)].state == State::kReturned) lanes &= ~(1u << i);
  }
  return lanes;
}

/// A description of which threads wait where, and which never arrived.
std::string BlockRunner::blocked_threads() const {
  std::vector<std::pair<const Meeting*, std::vector<int>>> waiting;
  std::vector<int> returned;
  for (int i = 0; i < threads_; ++i) {
    const Thread& thread = thread_[static_cast<size_t>(i)];
    if (thread.state == State::kReturned) {
      returned.push_back(i);
      continue;
    }
    const auto known =
        std::find_if(waiting.begin(), waiting.end(), [&](const auto& group) { return *group.first == thread.meeting; });
    if (known != waiting.end()) {
      known->second.push_back(i);
    } else {
      waiting.push_back({&thread.meeting, {i}});
    }
  }
  std::string text = at_barrier_ > 0 ? "divergent barrier: " : "divergent warp collective: ";
  for (const auto& [meeting, members] : waiting) {
    text += "threads " + ranges(members) + " wait at " + meeting->text() + "; ";
  }
  return text + (returned.empty() ? "all threads wait" : "threads " + ranges(returned) + " returned without coming");
}

Error BlockRunner::error(const std::string& what) const {
  return Error("kernel " + shape_.name + ", block (" + std::to_string(blockIdx.x) + ", " + std::to_string(blockIdx.y) +
               ", " + std::to_string(blockIdx.z) + "): " + what);
}

namespace {

BlockRunner& block_of(const char* operation) {
  if (running == nullptr) throw Error(std::string(operation) + " called outside of a kernel");
  return *running;
}

}  // namespace

int block_barrier(const char* operation, bool predicate, Site site) {
  Parcel parcel;
  parcel.predicate = predicate;
  return static_cast<int>(block_of(operation).meet({operation, site, 0}, parcel).yes);
}

uint64_t warp_exchange(const char* operation, unsigned mask, uint64_t sent, int source, Site site) {
  Parcel parcel;
  parcel.sent = sent;
  parcel.source = source;
  return block_of(operation).meet({operation, site, mask}, parcel).received;
}

Votes warp_vote(const char* operation, unsigned mask, bool predicate, Site site) {
  BlockRunner& block = block_of(operation);
  Parcel parcel;
  parcel.predicate = predicate;
  const unsigned yes = block.meet({operation, site, mask}, parcel).yes;
  return {yes, mask & block.lanes_of_warp()};
}

int block_threads() { return block_of("the block size").threads(); }
int lane() { return block_of("a warp collective").lane(); }
unsigned lanes_not_returned() { return block_of("__activemask").lanes_not_returned(); }

void* allocate_static_shared(const void* key, size_t bytes, size_t alignment) {
  return block_of("PYDLX_SHARED").shared_memory().find_or_allocate(key, bytes, alignment);
}
void* dynamic_shared_memory() { return block_of("PYDLX_DYNAMIC_SHARED").shared_memory().dynamic(); }

}  // namespace pydlx::emulator
