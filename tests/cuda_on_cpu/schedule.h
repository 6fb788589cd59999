#pragma once

// The orders in which threads, warps and blocks may run. A kernel that is right on a GPU gives the same result under
// all of them; a missing barrier gives different ones.

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

  /// What begin-of-block shared memory is filled with. 0xff reads as NaN or -1; under the reverse order 0x7f reads as
  /// a huge number, so that a kernel that swallows one of the two is found by comparing.
  unsigned char poison() const { return order == Order::kReverse ? 0x7f : 0xff; }
};

/// Orders one launch. Same schedule and same number of blocks: same orders, whatever ran before.
class Orderer {
 public:
  Orderer(Schedule schedule, uint64_t blocks);

  /// Which block runs as the `turn`-th.
  uint64_t block(uint64_t turn) const;

  /// Makes `items` the numbers from 0 to count - 1, in the order in which they are to run next.
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
