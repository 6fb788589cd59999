// Labels in memory as codes (see LabelRule) in vectors. Included once per instruction set; no include guard.
//
// Codes fit into 8 or 16 bits, so labels of more bits are first clipped to 16, which leaves those that are no class
// what they are.

namespace pydlx {
namespace PYDLX_SIMD {

// Codes of labels in a vector; Word has no sign, so that negative labels are too large to be classes.
template <class Word>
struct VectorRule {
  Vec<Word> classes, invalid, ignore, ignored;

  // With nothing to ignore, class 0 is "replaced" by 0.
  explicit VectorRule(const LabelRule& rule)
      : classes(splat(static_cast<Word>(rule.classes))),
        invalid(classes + 1),
        ignore(splat(static_cast<Word>(rule.ignores ? rule.ignore : 0))),
        ignored(splat(static_cast<Word>(rule.ignores ? rule.classes : 0))) {}

  __attribute__((always_inline)) Vec<Word> code(const Vec<Word>& label) const {
    const Vec<Word> code = label < classes ? label : invalid;
    return label == ignore ? ignored : code;
  }
};

// The numbers of two vectors in 16 bits, those that do not fit as the largest or smallest that do. On x86 each block of
// 128 bits holds four of the first and four of the second.
__attribute__((always_inline)) inline Vec<int16_t> clip(const Vec<int32_t>& first, const Vec<int32_t>& second) {
#if PYDLX_SIMD_BYTES == 64
  return (Vec<int16_t>)__builtin_ia32_packssdw512_mask(first, second, Vec<int16_t>{}, ~0u);
#elif PYDLX_SIMD_BYTES == 32
  return (Vec<int16_t>)__builtin_ia32_packssdw256(first, second);
#elif PYDLX_X86_LEVELS
  return (Vec<int16_t>)__builtin_ia32_packssdw128(first, second);
#else
  Vec<int16_t> clipped;
  for (int i = 0; i < 8; ++i) {
    clipped[i] = static_cast<int16_t>(std::clamp<int32_t>(i < 4 ? first[i] : second[i - 4], -0x8000, 0x7fff));
  }
  return clipped;
#endif
}

// The 64-bit numbers of two vectors at `from`, clipped to 32 bits. On x86 the halves of each are clipped to 16 bits:
// side by side they are the number itself if it fits into 16 bits, and else one that does not fit either. They are
// loaded as halves, since GCC 12 moves a vector of 512 bits through memory when its elements change their size.
__attribute__((always_inline)) inline Vec<int32_t> load_clipped(const int64_t* from) {
#if PYDLX_X86_LEVELS
  const int32_t* halves = reinterpret_cast<const int32_t*>(from);
  return (Vec<int32_t>)clip(load(halves), load(halves + kVecLanes<int32_t>));
#else
  const int64_t least = INT32_MIN, most = INT32_MAX;
  Vec<int32_t> clipped;
  for (int i = 0; i < 4; ++i) clipped[i] = static_cast<int32_t>(std::clamp(from[i], least, most));
  return clipped;
#endif
}

// Puts clipped numbers from `kVectors` vectors, of each of which every block holds one `Unit`, into their order.
template <class Unit, int64_t kVectors>
__attribute__((always_inline)) inline Vec<uint16_t> in_order(const Vec<int16_t>& clipped) {
  constexpr int64_t kBlocks = PYDLX_SIMD_BYTES / 16;
  Vec<Unit> order;
  for (int64_t i = 0; i < kVecLanes<Unit>; ++i) order[i] = i % kBlocks * kVectors + i / kBlocks;
  return (Vec<uint16_t>)__builtin_shuffle((Vec<Unit>)clipped, order);
}

// A vector of labels in 16 bits, clipped if they have more.
__attribute__((always_inline)) inline Vec<uint16_t> load_words(const uint8_t* labels) {
  typedef uint8_t Half __attribute__((vector_size(PYDLX_SIMD_BYTES / 2), aligned(1), may_alias));
  return __builtin_convertvector(*reinterpret_cast<const Half*>(labels), Vec<uint16_t>);
}

__attribute__((always_inline)) inline Vec<uint16_t> load_words(const uint16_t* labels) { return load(labels); }

__attribute__((always_inline)) inline Vec<uint16_t> load_words(const int32_t* labels) {
  return in_order<int64_t, 2>(clip(load(labels), load(labels + kVecLanes<int32_t>)));
}

__attribute__((always_inline)) inline Vec<uint16_t> load_words(const int64_t* labels) {
  return in_order<int32_t, 4>(clip(load_clipped(labels), load_clipped(labels + 2 * kVecLanes<int64_t>)));
}

template <size_t... I>
__attribute__((always_inline)) inline Vec<uint8_t> join_bytes(const Vec<uint16_t>& first, const Vec<uint16_t>& second,
                                                              std::index_sequence<I...>) {
  constexpr int kUpper = __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__;
  return __builtin_shufflevector((Vec<uint8_t>)first, (Vec<uint8_t>)second, (2 * int(I) + kUpper)...);
}

// How the labels of a map become codes. Labels of 8 and 16 bits are read without their sign, those of more bits are
// clipped to 16 unless the ignored one has more.
template <class Code, class Label>
class Encoder {
 public:
  // `rule` is of labels as they are read.
  explicit Encoder(const LabelRule& rule)
      : rule_(rule), vector_rule_(rule), clips_(-0x8000 < rule.ignore && rule.ignore < 0x7fff) {}

  Code code(Label label) const { return static_cast<Code>(rule_.code(label)); }

  // The codes of a vector's worth of labels, of which `left` are there; the others are ignored.
  __attribute__((always_inline)) Vec<Code> operator()(const Label* labels, int64_t left) const {
    const bool clips = sizeof(Label) <= 2 || clips_;
    if (__builtin_expect(left < kVecLanes<Code> || !clips, false)) return one_by_one(labels, left);
    if constexpr (sizeof(Word) == 1) {
      return vector_rule_.code(load(labels));
    } else if constexpr (sizeof(Code) == 2) {
      return vector_rule_.code(load_words(labels));
    } else {
      return join_bytes(vector_rule_.code(load_words(labels)),
                        vector_rule_.code(load_words(labels + kVecLanes<uint16_t>)),
                        std::make_index_sequence<kVecLanes<uint8_t>>());
    }
  }

 private:
  using Word = std::conditional_t<sizeof(Code) == 1 && sizeof(Label) == 1, uint8_t, uint16_t>;

  __attribute__((noinline)) Vec<Code> one_by_one(const Label* labels, int64_t left) const {
    Vec<Code> codes = splat(static_cast<Code>(rule_.classes));
    for (int64_t i = 0; i < std::min(left, kVecLanes<Code>); ++i) codes[i] = code(labels[i]);
    return codes;
  }

  LabelRule rule_;
  VectorRule<Word> vector_rule_;
  bool clips_;
};

}  // namespace PYDLX_SIMD
}  // namespace pydlx
