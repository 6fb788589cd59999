// The tables that blocks count pairs of labels in, before they add them to a matrix.
//
//     kSpread   32 bits a counter, 8 to 32 copies side by side: neighbouring lanes count in different ones, for in a
//               label map most of them have the same pair
//     kPacked   16 bits a counter, two in a word, one copy or more: for wider matrices. A thread counts runs of equal
//               pairs on its own first. A block must not count more than kMostPacked pixels before it adds up
//     kNone     no table: runs are counted in the matrix itself
#pragma once

#include "common/indexing.cuh"
#include "common/reduce.cuh"
#include "confusion_matrix/confusion_matrix.h"

namespace pydlx {

using Counter = unsigned long long;

enum class TableKind { kSpread, kPacked, kNone };

// A whole number of groups of labels, so that parts of an image begin alike.
constexpr int kMostPacked = 65520;

template <TableKind kind>
constexpr int kCountersOfWord = kind == TableKind::kPacked ? 2 : 1;

template <TableKind kind>
class ConfusionTable {
 public:
  __device__ ConfusionTable(unsigned* words, int bins, int copies_log2)
      : words_(words), bins_(bins), copies_log2_(copies_log2), copy_(threadIdx.x & ((1 << copies_log2) - 1)) {}

  // To be called by the whole block, as end().
  __device__ void begin(Counter* matrix) {
    matrix_ = matrix;
    if constexpr (kind != TableKind::kNone) {
      for (int i = threadIdx.x; i < groups() << copies_log2_; i += blockDim.x) words_[i] = 0;
      __syncthreads();
    }
  }

  // Counts a pixel.
  __device__ __forceinline__ void add(int pair) {
    if constexpr (kind == TableKind::kSpread) {
      atomicAdd(words_ + (pair << copies_log2_) + copy_, 1u);
    } else {
      if (pair != pair_) {
        write_run();
        pair_ = pair;
      }
      ++run_;
    }
  }

  // Adds the table to the matrix.
  __device__ void end() {
    write_run();
    if constexpr (kind != TableKind::kNone) {
      __syncthreads();
      for (int group = threadIdx.x; group < groups(); group += blockDim.x) {
        const unsigned sum = sum_of_copies(group);
        if constexpr (kind == TableKind::kSpread) {
          add_to_matrix(group, sum);
        } else {
          add_to_matrix(2 * group, sum & 0xffffu);
          add_to_matrix(2 * group + 1, sum >> 16);
        }
      }
      __syncthreads();
    }
  }

 private:
  // Words without the copies.
  __device__ int groups() const { return (bins_ + kCountersOfWord<kind> - 1) / kCountersOfWord<kind>; }

  // Neighbouring threads begin at different copies, that is in different banks. Sums of packed counters stay below
  // 2^16 as well.
  __device__ unsigned sum_of_copies(int group) const {
    const int copies = 1 << copies_log2_;
    unsigned sum = 0;
#pragma unroll 8
    for (int j = 0; j < copies; ++j) sum += words_[(group << copies_log2_) + ((threadIdx.x + j) & (copies - 1))];
    return sum;
  }

  __device__ void add_to_matrix(int pair, unsigned times) const {
    if (times) atomicAdd(matrix_ + pair, static_cast<Counter>(times));
  }

  __device__ __forceinline__ void write_run() {
    if constexpr (kind == TableKind::kPacked) {
      if (run_) atomicAdd(words_ + ((pair_ >> 1) << copies_log2_) + copy_, run_ << ((pair_ & 1) * 16));
    }
    if constexpr (kind == TableKind::kNone) add_to_matrix(pair_, run_);
    run_ = 0;
  }

  unsigned* const words_;
  const int bins_, copies_log2_, copy_;
  Counter* matrix_ = nullptr;
  int pair_ = -1;
  unsigned run_ = 0;
};

}  // namespace pydlx
