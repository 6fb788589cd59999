// k-max pooling over time. Included once per instruction set by sequence_pool_cpu_simd.h.
//
// First each channel's threshold, its k-th largest value, is found. A second pass through time then takes all values
// above it and the first of those equal to it, so that values come out in order of time. Values are compared as integer
// keys, in which NaN is the largest.

namespace pydlx {
namespace PYDLX_SIMD {

template <class A>
using Keys = decltype(Vec<A>{} < Vec<A>{});
template <class A>
using Key = std::conditional_t<sizeof(A) == 4, int32_t, int64_t>;

// Signed integers in the order of the floating-point numbers: for negative numbers all bits but the sign are inverted.
template <class A>
__attribute__((always_inline)) inline Keys<A> keys(const Vec<A>& a) {
  constexpr Key<A> kLargest = std::numeric_limits<Key<A>>::max();
  const Keys<A> bits = (Keys<A>)(a + A(0));  // -0 becomes 0
  const Keys<A> ordered = bits ^ ((bits >> (8 * sizeof(A) - 1)) & kLargest);
  return a == a ? ordered : kLargest - Keys<A>{};
}

template <class A>
struct KMax {
  static constexpr Key<A> kLowest = std::numeric_limits<Key<A>>::min();
  // Up to this k, a sorted list of the k largest is kept, with k operations per value that enters it; for larger k, the
  // threshold is found bit by bit, with one pass through time per bit.
  static constexpr int64_t kListed = 64;

  int64_t k;
  std::vector<Block<Key<A>>> list;  // largest first
  alignas(64) Block<Key<A>> threshold;
  Block<int64_t> ties, found;  // numbers of values equal to the threshold still to be taken, and of values taken

  explicit KMax(int64_t k_) : k(k_), list(std::min(k_, kListed)) {}

  template <class T>
  void pool(const SequenceUnit<T>& unit, T* y, int64_t* index) {
    if (k <= kListed) {
      find_by_list(unit);
    } else {
      find_by_bits(unit);
    }
    std::fill_n(found, kBlockChannels, 0);
    unit.each_tile([&](const Tile<A>& tile) {
      for (int64_t r = 0; r < tile.count; ++r) take(unit, tile.row[r], unit.row(tile.step[r]), y, index);
    });
    for (int64_t c = 0; c < unit.lanes; ++c) {
      for (; found[c] < k; ++found[c]) put(unit, c, T(0), -1, y, index);
    }
  }

 private:
  static Keys<A> load_keys(const Key<A>* from) { return (Keys<A>)load(reinterpret_cast<const A*>(from)); }
  static void store_keys(Key<A>* to, const Keys<A>& value) { store(reinterpret_cast<A*>(to), (Vec<A>)value); }

  template <class T>
  void find_by_list(const SequenceUnit<T>& unit) {
    std::fill_n(list[0], k * kBlockChannels, kLowest);
    unit.each_tile([&](const Tile<A>& tile) {
      for (int64_t c = 0; c < unit.lanes; c += kVecLanes<A>) {
        for (int64_t r = 0; r < tile.count; ++r) insert(keys<A>(load(tile.row[r] + c)), c);
      }
    });
    std::copy_n(list[k - 1], kBlockChannels, threshold);
    for (int64_t c = 0; c < kBlockChannels; ++c) {
      ties[c] = 0;
      for (int64_t j = 0; j < k; ++j) ties[c] += list[j][c] == threshold[c];
    }
  }

  __attribute__((always_inline)) void insert(Keys<A> key, int64_t c) {
    if (!any(key > load_keys(list[k - 1] + c))) return;
    for (int64_t j = 0; j < k; ++j) {
      const Keys<A> other = load_keys(list[j] + c);
      store_keys(list[j] + c, key > other ? key : other);
      key = key > other ? other : key;
    }
  }

  // Finds the largest key such that at least k keys are not below it; the lowest of all keys if there are fewer than k.
  template <class T>
  void find_by_bits(const SequenceUnit<T>& unit) {
    using Unsigned = std::make_unsigned_t<Key<A>>;
    alignas(64) Block<Key<A>> trial;
    Block<int64_t> reached;
    std::fill_n(threshold, kBlockChannels, kLowest);
    for (int bit = 8 * sizeof(A) - 1; bit >= 0; --bit) {
      for (int64_t c = 0; c < kBlockChannels; ++c) trial[c] = Unsigned(threshold[c]) + (Unsigned(1) << bit);
      count_reaching(unit, trial, reached);
      for (int64_t c = 0; c < kBlockChannels; ++c) threshold[c] = reached[c] >= k ? trial[c] : threshold[c];
    }
    // No key is above the largest one, that of NaN.
    for (int64_t c = 0; c < kBlockChannels; ++c) trial[c] = Unsigned(threshold[c]) + 1;
    count_reaching(unit, trial, reached);
    for (int64_t c = 0; c < kBlockChannels; ++c) ties[c] = trial[c] == kLowest ? k : k - reached[c];
  }

  template <class T>
  void count_reaching(const SequenceUnit<T>& unit, const Block<Key<A>>& limit, Block<int64_t>& reached) {
    std::fill_n(reached, kBlockChannels, 0);
    unit.each_tile([&](const Tile<A>& tile) {
      for (int64_t c = 0; c < unit.lanes; c += kVecLanes<A>) {
        Keys<A> count{};
        for (int64_t r = 0; r < tile.count; ++r) count -= keys<A>(load(tile.row[r] + c)) >= load_keys(limit + c);
        for (int64_t l = 0; l < kVecLanes<A>; ++l) reached[c + l] += count[l];
      }
    });
  }

  template <class T>
  __attribute__((always_inline)) void take(const SequenceUnit<T>& unit, const A* values, int64_t row, T* y,
                                           int64_t* index) {
    for (int64_t c = 0; c < unit.lanes; c += kVecLanes<A>) {
      const Keys<A> key = keys<A>(load(values + c)), limit = load_keys(threshold + c);
      if (!any(key >= limit)) continue;
      for (int64_t l = c; l < std::min(c + kVecLanes<A>, unit.lanes); ++l) {
        if (key[l - c] < threshold[l] || (key[l - c] == threshold[l] && ties[l]-- <= 0)) continue;
        put(unit, l, static_cast<T>(values[l]), row, y, index);
        ++found[l];
      }
    }
  }

  template <class T>
  void put(const SequenceUnit<T>& unit, int64_t c, T value, int64_t row, T* y, int64_t* index) {
    const int64_t place = unit.place(unit.b * k + found[c]) + c;
    y[place] = value;
    index[place] = row;
  }
};

}  // namespace PYDLX_SIMD
}  // namespace pydlx
