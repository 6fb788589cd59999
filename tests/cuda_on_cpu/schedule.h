#pragma once

// The order in which threads, warps and blocks run. A kernel that is right on a GPU gives the same result in every
// order; one with a missing barrier does not.

#include <cstdint>
#include <string>
#include <vector>

namespace pydlx::emulator {

enum class Order { kForward, kReverse, kShuffle };

struct Schedule {
  Order order = Order::kForward;
  uint64_t seed = 0;

  /// From "forward", "reverse", "shuffle" or "shuffle:<seed>". Throws std::invalid_argument.
  static Schedule parse(const std::string& text);

  /// The byte that fills shared memory before every block: 0xff, which is NaN or -1, or in reverse order 0x7f, which is
  /// a huge number. A kernel that ignores one of the two is found by comparing results.
  unsigned char poison() const { return order == Order::kReverse ? 0x7f : 0xff; }
};

/// The orders of one launch, which depend only on the schedule and the number of blocks.
class Orderer {
 public:
  Orderer(Schedule schedule, uint64_t blocks);

  /// The index of the block that runs at position `turn`.
  uint64_t block(uint64_t turn) const;

  /// Sets `items` to the numbers from 0 to count - 1, in the order in which they run next.
  void arrange(std::vector<int>& items, int count);

 private:
  uint64_t random();

  Schedule schedule_;
  uint64_t state_;
  uint64_t blocks_;
  uint64_t stride_ = 1;
  uint64_t offset_ = 0;
};

}  // namespace pydlx::emulator
