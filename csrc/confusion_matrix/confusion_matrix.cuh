// Confusion matrix kernels (maths and shapes in confusion_matrix.h).
//
// Images are cut into parts, a block counts one after the other, each into its table (confusion_tables.cuh), which is
// added to the image's matrix at the end. The only atomics are integer ones, whose order does not matter.
//
// Labels: a thread takes kGroup neighbouring pixels at once, as many as 16 bytes hold of the wider labels, so that one
// load brings a group of each map; a few groups are in flight. What lies before the first and behind the last whole
// group of a part is counted pixel by pixel. Maps that no vectors can be read from at the same pixels have groups of
// one. Two maps of bytes take four pixels in a word, and their pairs two by two.
//
// Logits: one thread per pixel, neighbouring threads on neighbouring pixels. Logits that lie class by class are read in
// whole lines; where they lie pixel by pixel, the lines of a warp's pixels stay in the first-level cache while its
// threads walk through the classes.
//
// Floor: read both maps once. The kernels read that; beside it stands, for each part, what its table holds.
#pragma once

#include "common/vectors.cuh"
#include "confusion_matrix/confusion_tables.cuh"

namespace pydlx {

constexpr int kLabelThreads = 512, kLogitThreads = 256;

// Pixels that one vector of either map holds, at most.
constexpr int kMostGroup = kVectorBytes;

// Groups of each map that a thread has in flight.
template <int kGroup>
constexpr int kGroupsInFlight = kGroup == 1 ? 4 : 2;

// How the work is cut: `parts` of `part` pixels in each image. Pixels whose number leaves `skew` when divided by the
// size of a group begin one.
struct ConfusionParts {
  int64_t parts;
  int part, skew;

  PYDLX_HOST_DEVICE int64_t total(const ConfusionTask& task) const { return task.images * parts; }
};

__global__ void confusion_clear_kernel(Counter* __restrict__ counts, int64_t size, Counter* __restrict__ invalid) {
  PYDLX_GRID_STRIDE(i, size) counts[i] = 0;
  if (blockIdx.x == 0 && threadIdx.x < 2) invalid[threadIdx.x] = ~Counter{0};
}

__device__ inline int64_t label_at(const ConfusionMap& map, int64_t at) {
  switch (map.dtype) {
    case ScalarType::UInt16:
      return static_cast<const uint16_t*>(map.data)[at];
    case ScalarType::Short:
      return static_cast<const int16_t*>(map.data)[at];
    case ScalarType::Int:
      return static_cast<const int32_t*>(map.data)[at];
    case ScalarType::Long:
      return static_cast<const int64_t*>(map.data)[at];
    default:  // uint8 and bool
      return static_cast<const uint8_t*>(map.data)[at];
  }
}

// Most pixels find a smaller place there already, and need no atomic.
__device__ inline void note_first(Counter* place, int64_t at) {
  if (static_cast<Counter>(at) < *static_cast<volatile Counter*>(place)) atomicMin(place, static_cast<Counter>(at));
}

// Counts the pair that two codes make (LabelRule).
template <class Table>
__device__ __forceinline__ void count_codes(Table& table, int classes, int t, int p, int64_t at, Counter* invalid) {
  if (t < classes && p < classes) return table.add(t * classes + p);
  if (t > classes) return note_first(invalid, at);
  if (t < classes) note_first(invalid + 1, at);
}

template <class Table>
__device__ __forceinline__ void count_pixel(Table& table, const ConfusionTask& task, int64_t at, Counter* invalid) {
  const auto t = static_cast<int>(task.target_rule.code(label_at(task.target, at)));
  const auto p = static_cast<int>(task.pred_rule.code(label_at(task.pred, at)));
  count_codes(table, static_cast<int>(task.classes()), t, p, at, invalid);
}

// ---- labels

// A group of labels as it lies in memory.
struct RawLabels {
  unsigned words[kVectorBytes / sizeof(unsigned)];
};

template <class Piece>
__device__ __forceinline__ void load_piece(const void* from, RawLabels& to) {
  const Piece piece = *static_cast<const Piece*>(from);
  if constexpr (sizeof(Piece) < sizeof(unsigned)) {
    to.words[0] = piece;
  } else {
#pragma unroll
    for (size_t i = 0; i < sizeof(Piece) / sizeof(unsigned); ++i) to.words[i] = piece.values[i];
  }
}

// Loads the group that begins at a pixel; 1 to 16 bytes.
template <int kGroup>
__device__ __forceinline__ void load_group(const ConfusionMap& map, int64_t at, RawLabels& to) {
  const void* from = static_cast<const char*>(map.data) + at * map.bytes;
  const int bytes = kGroup * static_cast<int>(map.bytes);
  if (bytes == 16) {
    if constexpr (kGroup > 1) load_piece<Vector<unsigned, 4>>(from, to);
  } else if (bytes == 8) {
    if constexpr (kGroup <= 8) load_piece<Vector<unsigned, 2>>(from, to);
  } else if (bytes == 4) {
    if constexpr (kGroup <= 4) load_piece<Vector<unsigned, 1>>(from, to);
  } else if (bytes == 2) {
    if constexpr (kGroup <= 2) load_piece<uint16_t>(from, to);
  } else {
    if constexpr (kGroup == 1) load_piece<uint8_t>(from, to);
  }
}

template <class Label>
__device__ __forceinline__ Label label_of(const RawLabels& raw, int i) {
  if constexpr (sizeof(Label) == 8) {
    return static_cast<Label>(static_cast<uint64_t>(raw.words[2 * i + 1]) << 32 | raw.words[2 * i]);
  } else {
    constexpr int kInWord = 4 / static_cast<int>(sizeof(Label)), kBits = 8 * static_cast<int>(sizeof(Label));
    return static_cast<Label>(raw.words[i / kInWord] >> (i % kInWord * kBits));
  }
}

// LabelRule in 32 bits, for labels that have no more.
struct NarrowRule {
  int classes, ignore;
  bool ignores;

  __device__ explicit NarrowRule(const LabelRule& rule)
      : classes(static_cast<int>(rule.classes)),
        ignore(static_cast<int>(rule.ignore)),
        ignores(rule.ignores && ignore == rule.ignore) {}

  __device__ int code(int label) const {
    if (ignores && label == ignore) return classes;
    return static_cast<unsigned>(label) < static_cast<unsigned>(classes) ? label : classes + 1;
  }
};

template <class Label, int kGroup>
__device__ __forceinline__ void codes_of(const RawLabels& raw, const LabelRule& rule, int (&codes)[kGroup]) {
  if constexpr (sizeof(Label) * kGroup <= kVectorBytes) {
    const NarrowRule narrow(rule);
#pragma unroll
    for (int i = 0; i < kGroup; ++i) {
      if constexpr (sizeof(Label) == 8) {
        codes[i] = static_cast<int>(rule.code(label_of<Label>(raw, i)));
      } else {
        codes[i] = narrow.code(label_of<Label>(raw, i));
      }
    }
  }
}

template <int kGroup>
__device__ __forceinline__ void codes_of(const RawLabels& raw, const ConfusionMap& map, const LabelRule& rule,
                                         int (&codes)[kGroup]) {
  switch (map.dtype) {
    case ScalarType::UInt16:
      return codes_of<uint16_t>(raw, rule, codes);
    case ScalarType::Short:
      return codes_of<int16_t>(raw, rule, codes);
    case ScalarType::Int:
      return codes_of<int32_t>(raw, rule, codes);
    case ScalarType::Long:
      return codes_of<int64_t>(raw, rule, codes);
    default:
      return codes_of<uint8_t>(raw, rule, codes);
  }
}

// Sets bit 7 of each byte that is not below `classes`, 1 to 256; other bits are anything.
__device__ __forceinline__ unsigned bytes_beyond(unsigned four, int classes) {
  const unsigned low = four & 0x7f7f7f7fu;
  if (classes <= 128) return (low + static_cast<unsigned>(128 - classes) * 0x01010101u) | four;
  return (low + static_cast<unsigned>(256 - classes) * 0x01010101u) & four;
}

// Pairs of bytes t C + p, of at most 256 classes, have 16 bits: two are made in one word. Words with a label that is no
// class, or may be an ignored one, are taken apart.
template <class Table>
__device__ __forceinline__ void count_bytes(Table& table, const ConfusionTask& task, const RawLabels& targets,
                                            const RawLabels& preds, int64_t at, Counter* invalid) {
  const int classes = static_cast<int>(task.classes());
  const LabelRule& rule = task.target_rule;
  const bool plain = classes <= 256 && !(rule.ignores && rule.ignore >= 0 && rule.ignore < classes);
  const NarrowRule target_rule(rule), pred_rule(task.pred_rule);
#pragma unroll
  for (int w = 0; w < 4; ++w) {
    const unsigned t = targets.words[w], p = preds.words[w];
    if (plain && ((bytes_beyond(t, classes) | bytes_beyond(p, classes)) & 0x80808080u) == 0) {
      const unsigned even = (t & 0x00ff00ffu) * classes + (p & 0x00ff00ffu);
      const unsigned odd = (t >> 8 & 0x00ff00ffu) * classes + (p >> 8 & 0x00ff00ffu);
      table.add(static_cast<int>(even & 0xffffu));
      table.add(static_cast<int>(odd & 0xffffu));
      table.add(static_cast<int>(even >> 16));
      table.add(static_cast<int>(odd >> 16));
    } else {
#pragma unroll 1
      for (int i = 0; i < 4; ++i) {
        const int target = target_rule.code(t >> (8 * i) & 0xffu), pred = pred_rule.code(p >> (8 * i) & 0xffu);
        count_codes(table, classes, target, pred, at + 4 * w + i, invalid);
      }
    }
  }
}

template <int kGroup, class Table>
__device__ __forceinline__ void count_group(Table& table, const ConfusionTask& task, const RawLabels& targets,
                                            const RawLabels& preds, int64_t at, Counter* invalid) {
  if constexpr (kGroup == kMostGroup) {
    count_bytes(table, task, targets, preds, at, invalid);
  } else {
    int t[kGroup], p[kGroup];
    codes_of(targets, task.target, task.target_rule, t);
    codes_of(preds, task.pred, task.pred_rule, p);
#pragma unroll
    for (int i = 0; i < kGroup; ++i) {
      count_codes(table, static_cast<int>(task.classes()), t[i], p[i], at + i, invalid);
    }
  }
}

// Counts the pixels [begin, end) of both maps.
template <int kGroup, class Table>
__device__ __forceinline__ void count_labels(Table& table, const ConfusionTask& task, int skew, int64_t begin,
                                             int64_t end, Counter* invalid) {
  const int thread = threadIdx.x, threads = blockDim.x;
  const int64_t unaligned = (skew - begin) & (kGroup - 1), first = min(begin + unaligned, end);
  const int groups = static_cast<int>((end - first) / kGroup), before = static_cast<int>(first - begin);
  const int64_t behind = first + static_cast<int64_t>(groups) * kGroup;
  if (thread < before) count_pixel(table, task, begin + thread, invalid);
  if (behind + thread < end) count_pixel(table, task, behind + thread, invalid);

  constexpr int kInFlight = kGroupsInFlight<kGroup>;
  for (int group = thread; group < groups; group += kInFlight * threads) {
    RawLabels targets[kInFlight], preds[kInFlight];
#pragma unroll
    for (int j = 0; j < kInFlight; ++j) {
      const int64_t at = first + static_cast<int64_t>(min(group + j * threads, groups - 1)) * kGroup;
      load_group<kGroup>(task.target, at, targets[j]);
      load_group<kGroup>(task.pred, at, preds[j]);
    }
#pragma unroll
    for (int j = 0; j < kInFlight; ++j) {
      if (group + j * threads >= groups) break;
      const int64_t at = first + static_cast<int64_t>(group + j * threads) * kGroup;
      count_group<kGroup>(table, task, targets[j], preds[j], at, invalid);
    }
  }
}

// ---- logits

// The class of the largest logit: the first of equal ones, the first NaN over any number.
template <class T>
__device__ inline int argmax_at(const ConfusionMap& map, int classes, int64_t image, int64_t pixel) {
  using A = accumulate_t<T>;
  const T* logits = static_cast<const T*>(map.data) + image * map.image_stride + pixel * map.pixel_stride;
  int winner = 0;
  A best = static_cast<A>(logits[0]);
#pragma unroll 4  // loads in flight
  for (int c = 1; c < classes; ++c) {
    const A a = static_cast<A>(logits[c * map.class_stride]);
    if (a > best || (a != a && best == best)) {
      best = a;
      winner = c;
    }
  }
  return winner;
}

template <class T, class Table>
__device__ __forceinline__ void count_logits(Table& table, const ConfusionTask& task, int64_t image, int64_t begin,
                                             int64_t end, Counter* invalid) {
  const int classes = static_cast<int>(task.classes());
  for (int64_t pixel = begin + threadIdx.x; pixel < end; pixel += blockDim.x) {
    const int64_t at = image * task.pixels + pixel;
    const auto t = static_cast<int>(task.target_rule.code(label_at(task.target, at)));
    const int p = t < classes ? argmax_at<T>(task.pred, classes, image, pixel) : 0;
    count_codes(table, classes, t, p, at, invalid);
  }
}

// ---- both

// Calls count(image, first pixel, pixel behind the last) for the parts of this block, each into the table anew.
template <class Table, class Count>
__device__ __forceinline__ void for_parts(Table& table, const ConfusionTask& task, const ConfusionParts& cut,
                                          Counter* counts, const Count& count) {
  for (int64_t number = blockIdx.x; number < cut.total(task); number += gridDim.x) {
    const int64_t image = number / cut.parts, begin = (number - image * cut.parts) * cut.part;
    table.begin(counts + (task.per_image ? image * task.bins() : 0));
    count(image, begin, min(begin + cut.part, task.pixels));
    table.end();
  }
}

template <int kGroup, TableKind kind>
__global__ void __launch_bounds__(kLabelThreads, PYDLX_BLOCKS(2))
    confusion_labels_kernel(ConfusionTask task, ConfusionParts cut, int copies_log2, Counter* __restrict__ counts,
                            Counter* __restrict__ invalid) {
  PYDLX_DYNAMIC_SHARED(unsigned, words);
  ConfusionTable<kind> table(words, static_cast<int>(task.bins()), copies_log2);
  for_parts(table, task, cut, counts, [&](int64_t image, int64_t begin, int64_t end) {
    const int64_t start = image * task.pixels;
    count_labels<kGroup>(table, task, cut.skew, start + begin, start + end, invalid);
  });
}

template <class T, TableKind kind>
__global__ void __launch_bounds__(kLogitThreads)
    confusion_logits_kernel(ConfusionTask task, ConfusionParts cut, int copies_log2, Counter* __restrict__ counts,
                            Counter* __restrict__ invalid) {
  PYDLX_DYNAMIC_SHARED(unsigned, words);
  ConfusionTable<kind> table(words, static_cast<int>(task.bins()), copies_log2);
  for_parts(table, task, cut, counts, [&](int64_t image, int64_t begin, int64_t end) {
    count_logits<T>(table, task, image, begin, end, invalid);
  });
}

}  // namespace pydlx
