#include "schedule.h"

#include <algorithm>
#include <numeric>
#include <stdexcept>

namespace pydlx::emulator {

Schedule Schedule::parse(const std::string& text) {
  const std::string shuffle = "shuffle:";
  if (text == "forward") return {Order::kForward, 0};
  if (text == "reverse") return {Order::kReverse, 0};
  if (text == "shuffle") return {Order::kShuffle, 0};
  const std::string seed = text.compare(0, shuffle.size(), shuffle) == 0 ? text.substr(shuffle.size()) : "";
  if (seed.empty() || seed.size() > 18 || seed.find_first_not_of("0123456789") != std::string::npos) {
    throw std::invalid_argument("emulator schedule must be forward, reverse, shuffle or shuffle:<seed>, got '" + text +
                                "'");
  }
  return {Order::kShuffle, std::stoull(seed)};
}

Orderer::Orderer(Schedule schedule, uint64_t blocks) : schedule_(schedule), state_(schedule.seed), blocks_(blocks) {
  if (schedule.order != Order::kShuffle) return;
  // turn -> (turn * stride + offset) mod blocks is a permutation when the stride has no factor in common with the
  // number of blocks. The stride stays near 2^31 and the turn below 2^32 (run_grid), so that their product fits.
  const uint64_t bound = std::min<uint64_t>(blocks, uint64_t{1} << 31);
  stride_ = 1 + random() % bound;
  while (std::gcd(stride_, blocks) != 1) ++stride_;
  offset_ = random() % blocks;
}

uint64_t Orderer::block(uint64_t turn) const {
  switch (schedule_.order) {
    case Order::kForward:
      return turn;
    case Order::kReverse:
      return blocks_ - 1 - turn;
    case Order::kShuffle:
      break;
  }
  return (turn * stride_ + offset_) % blocks_;
}

void Orderer::arrange(std::vector<int>& items, int count) {
  const bool in_place = schedule_.order != Order::kShuffle && static_cast<int>(items.size()) == count;
  if (in_place) return;
  items.resize(static_cast<size_t>(count));
  std::iota(items.begin(), items.end(), 0);
  if (schedule_.order == Order::kReverse) std::reverse(items.begin(), items.end());
  if (schedule_.order != Order::kShuffle) return;
  for (int left = count; left > 1; --left) {
    std::swap(items[static_cast<size_t>(left - 1)], items[random() % static_cast<uint64_t>(left)]);
  }
}

/// splitmix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014).
uint64_t Orderer::random() {
  state_ += 0x9e3779b97f4a7c15u;
  uint64_t z = state_;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

}  // namespace pydlx::emulator
