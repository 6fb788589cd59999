// The order of numbers from the largest to the smallest, the earlier of equals first.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <utility>
#include <vector>

namespace pydlx {

// Sorts rows by falling score; for hundreds of rows and more by the digits of the scores, one byte after the other.
class FallingOrder {
 public:
  void sort(const double* scores, std::vector<int64_t>& rows) {
    const auto count = static_cast<int64_t>(rows.size());
    if (count <= kFew) return insert(scores, rows);
    if (count <= kSome) {
      std::stable_sort(rows.begin(), rows.end(), [&](int64_t a, int64_t b) { return scores[a] > scores[b]; });
      return;
    }
    keys_.resize(count);
    spare_.resize(count);
    for (int64_t i = 0; i < count; ++i) keys_[i] = {rising_key(scores[rows[i]]), rows[i]};
    by_digits();
    for (int64_t i = 0; i < count; ++i) rows[i] = keys_[i].row;
  }

 private:
  static constexpr int64_t kFew = 32, kSome = 512;

  struct Key {
    uint64_t key;
    int64_t row;
  };

  // A number that rises where the score falls; 0 and -0 are equal.
  static uint64_t rising_key(double score) {
    score += 0.0;
    uint64_t bits;
    std::memcpy(&bits, &score, sizeof bits);
    const uint64_t sign = uint64_t{1} << 63;
    return bits & sign ? bits : ~(bits | sign);
  }

  static void insert(const double* scores, std::vector<int64_t>& rows) {
    for (size_t i = 1; i < rows.size(); ++i) {
      const int64_t row = rows[i];
      size_t place = i;
      for (; place > 0 && scores[row] > scores[rows[place - 1]]; --place) rows[place] = rows[place - 1];
      rows[place] = row;
    }
  }

  void by_digits() {
    std::array<std::array<int64_t, 256>, 8> counts{};
    for (const Key& key : keys_) {
      for (int digit = 0; digit < 8; ++digit) ++counts[digit][key.key >> (8 * digit) & 255];
    }
    for (int digit = 0; digit < 8; ++digit) {
      auto& starts = counts[digit];
      if (std::find(starts.begin(), starts.end(), static_cast<int64_t>(keys_.size())) != starts.end()) continue;
      int64_t before = 0;
      for (int64_t& start : starts) before += std::exchange(start, before);
      for (const Key& key : keys_) spare_[starts[key.key >> (8 * digit) & 255]++] = key;
      keys_.swap(spare_);
    }
  }

  std::vector<Key> keys_, spare_;
};

}  // namespace pydlx
