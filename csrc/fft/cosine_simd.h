// Cosine and sine transforms of 2 kVecLanes real lines at a time, compiled once per instruction set (cosine.h has the
// formulas). The `re` vectors hold lines [0, kVecLanes), the `im` vectors the others.
namespace pydlx {
namespace PYDLX_SIMD {

template <class T>
constexpr int64_t kGroup = 2 * kVecLanes<T>;

// A group of lines in memory: the offset of each one's first sample, the stride between samples, and the number of
// distinct lines (the rest repeat the last one and are not written).
template <class T>
struct Lines {
  int64_t start[kGroup<T>];
  int64_t step;
  int64_t count;

  bool adjacent() const {
    return start[kVecLanes<T> - 1] - start[0] == kVecLanes<T> - 1 &&
           start[kGroup<T> - 1] - start[kVecLanes<T>] == kVecLanes<T> - 1;
  }
};

// Copies sample n of every line to data[place(n)].
template <class T, class Place>
void load_lines(const T* x, const Lines<T>& lines, int64_t length, Pair<T>* data, const Place& place) {
  constexpr int64_t L = kVecLanes<T>;
  const int64_t* start = lines.start;
  int64_t n = 0;
  if (lines.step == 1) {
    for (; n + L <= length; n += L) {
      Vec<T> a[L], b[L];
      for (int64_t l = 0; l < L; ++l) a[l] = load(x + start[l] + n);
      transpose<T>(a);
      for (int64_t l = 0; l < L; ++l) data[place(n + l)].re = a[l];
      for (int64_t l = 0; l < L; ++l) b[l] = load(x + start[L + l] + n);
      transpose<T>(b);
      for (int64_t l = 0; l < L; ++l) data[place(n + l)].im = b[l];
    }
  } else if (lines.adjacent()) {
    for (; n < length; ++n) data[place(n)] = {load(x + start[0] + n * lines.step), load(x + start[L] + n * lines.step)};
  }
  for (; n < length; ++n) {
    T* lane = reinterpret_cast<T*>(data + place(n));
    for (int64_t l = 0; l < 2 * L; ++l) lane[l] = x[start[l] + n * lines.step];
  }
}

// Copies data[place(n)] to sample n of every line.
template <class T, class Place>
void store_lines(T* x, const Lines<T>& lines, int64_t length, Pair<T>* data, const Place& place) {
  constexpr int64_t L = kVecLanes<T>;
  const int64_t* start = lines.start;
  int64_t n = 0;
  if (lines.step == 1) {
    for (; n + L <= length; n += L) {
      Vec<T> a[L];
      for (int64_t l = 0; l < L; ++l) a[l] = data[place(n + l)].re;
      transpose<T>(a);
      for (int64_t l = 0; l < L; ++l) data[place(n + l)].re = a[l];
      for (int64_t l = 0; l < L; ++l) a[l] = data[place(n + l)].im;
      transpose<T>(a);
      for (int64_t l = 0; l < L; ++l) data[place(n + l)].im = a[l];
    }
    const int64_t blocks = n;
    for (int64_t l = 0; l < L && l < lines.count; ++l)
      for (n = 0; n < blocks; n += L) store(x + start[l] + n, data[place(n + l)].re);
    for (int64_t l = 0; l < L && L + l < lines.count; ++l)
      for (n = 0; n < blocks; n += L) store(x + start[L + l] + n, data[place(n + l)].im);
    n = blocks;
  } else if (lines.count == 2 * L && lines.adjacent()) {
    for (; n < length; ++n) {
      store(x + start[0] + n * lines.step, data[place(n)].re);
      store(x + start[L] + n * lines.step, data[place(n)].im);
    }
  }
  for (; n < length; ++n) {
    const T* lane = reinterpret_cast<const T*>(data + place(n));
    for (int64_t l = 0; l < lines.count; ++l) x[start[l] + n * lines.step] = lane[l];
  }
}

// From the FFT of v_a + i v_b to the two lines' DCT-II, in place and in natural order. Output 0 is scaled by `first`,
// the others by `scale`.
template <class T>
void finish_cosine(Pair<T>* data, const CosinePlan<T>& plan, T first, T scale) {
  const int64_t n = plan.length;
  const T two = 2 * first;
  data[0] = {data[0].re * two, data[0].im * two};
  for (int64_t k = 1; 2 * k <= n; ++k) {
    const T c = plan.twiddles[size_t(2 * k)] * scale, s = plan.twiddles[size_t(2 * k + 1)] * scale;
    const Pair<T> z = data[k], w = data[n - k];
    const Pair<T> a{z.re + w.re, z.im - w.im}, b{z.im + w.im, w.re - z.re};  // twice the spectra of the two lines
    data[n - k] = {a.re * s - a.im * c, b.re * s - b.im * c};
    data[k] = {a.re * c + a.im * s, b.re * c + b.im * s};
  }
}

// DCT-III: spectra in natural order -> FFT input, so that the (forward) FFT gives v_a + i v_b.
template <class T>
void begin_cosine(const Pair<T>* line, Pair<T>* data, const CosinePlan<T>& plan, T first, T scale) {
  const int64_t n = plan.length;
  const int32_t* slot = plan.fft.slot.data();
  data[slot[0]] = {line[0].re * first, line[0].im * first};
  for (int64_t k = 1; 2 * k <= n; ++k) {
    const T c = plan.twiddles[size_t(2 * k)] * scale, s = plan.twiddles[size_t(2 * k + 1)] * scale;
    const Pair<T> x = line[k], y = line[n - k];
    const Pair<T> a{x.re * c + y.re * s, x.re * s - y.re * c}, b{x.im * c + y.im * s, x.im * s - y.im * c};
    data[slot[n - k]] = {a.re - b.im, a.im + b.re};
    data[slot[k]] = {a.re + b.im, b.re - a.im};
  }
}

// DST-I of x[1 .. M-1], in place; x[0] is not touched. `data` is a workspace of M elements, `work` that of the FFTs.
template <class T>
void sine(Pair<T>* x, Pair<T>* data, Pair<T>* work, const SinePlan<T>& plan, T scale) {
  const int64_t m = plan.intervals;
  if (m == 1) return;
  if (plan.fft) {
    const int32_t* slot = plan.fft->slot.data();
    for (Vec<T> Pair<T>::* half : {&Pair<T>::re, &Pair<T>::im}) {
      data[slot[0]] = Pair<T>{};
      for (int64_t n = 1; n < m; ++n) data[slot[n]] = {x[n].*half, n % 2 ? -(x[n].*half) : x[n].*half};
      fft(data, work, *plan.fft);
      for (int64_t l = 1; 2 * l < m; ++l) {
        x[2 * l].*half = (data[m - l].im - data[l].im) * scale;
        x[m - 2 * l].*half = (data[m - l].re - data[l].re) * scale;
      }
    }
    return;
  }
  const int64_t k = m / 2;
  for (int64_t n = 1; n < k; ++n) {
    const Pair<T> p = x[n], q = x[m - n];
    x[n] = p - q;
    x[m - n] = p + q;
  }
  sine(x, data, work, *plan.even_outputs, scale);
  begin_cosine(x + k, data, *plan.odd_outputs, 2 * scale, scale);
  fft(data, work, plan.odd_outputs->fft);
  for (int64_t n = k - 1; n > 0; --n) x[2 * n] = x[n];
  const int32_t* order = plan.odd_outputs->order.data();
  for (int64_t n = 0; n < k; ++n) {
    const T sign = n % 2 ? T(-1) : T(1);
    x[2 * n + 1] = {data[order[n]].re * sign, data[order[n]].im * sign};
  }
}

// The results of a group of lines: sample i is data[order[i]], or data[i] if `order` is null.
template <class T>
struct GroupResult {
  Pair<T>* data;
  const int32_t* order;

  // Every output depends on all samples of its line, so a NaN or infinity in the input shows in the first output.
  bool finite() const { return !any((data->re - data->re) + (data->im - data->im) != T(0)); }
};

// Transforms one group of lines; the result is in `work`.
template <class T>
GroupResult<T> transform_group(const LinePlan<T>& plan, const T* x, const Lines<T>& from, T first, T scale,
                               Pair<T>* work) {
  const int64_t n = plan.length;
  Pair<T>* line = work;
  Pair<T>* data = line + n + 1;
  Pair<T>* fft_work = data + n + 1;
  const auto natural = [](int64_t i) { return i; };
  if (plan.kind == LineKind::kCosine2) {
    load_lines(x, from, n, data, [slot = plan.cosine->slot.data()](int64_t i) { return slot[i]; });
    fft(data, fft_work, plan.cosine->fft);
    finish_cosine(data, *plan.cosine, first, scale);
    return {data, nullptr};
  }
  if (plan.kind == LineKind::kCosine3) {
    load_lines(x, from, n, line, natural);
    begin_cosine(line, data, *plan.cosine, first, scale);
    fft(data, fft_work, plan.cosine->fft);
    return {data, plan.cosine->order.data()};
  }
  load_lines(x, from, n, line + 1, natural);
  sine(line, data, fft_work, *plan.sine, scale);
  return {line + 1, nullptr};
}

template <class T>
void store_group(const GroupResult<T>& result, T* y, const Lines<T>& to, int64_t length) {
  if (result.order) return store_lines(y, to, length, result.data, [=](int64_t i) { return result.order[i]; });
  store_lines(y, to, length, result.data, [](int64_t i) { return i; });
}

// The lines of the `re` vectors (half 0) or of the `im` vectors (half 1), placed in both.
template <class T>
Lines<T> half_of(const Lines<T>& lines, int64_t half) {
  constexpr int64_t L = kVecLanes<T>;
  Lines<T> out;
  out.step = lines.step;
  out.count = std::clamp(lines.count - half * L, int64_t(0), L);
  for (int64_t l = 0; l < L; ++l) out.start[l] = out.start[L + l] = lines.start[half * L + l];
  return out;
}

// Transforms one group of lines from x to y. Outputs (of DCT-III: inputs) are multiplied by `scale`, element 0 by
// `first`. `work` has plan.work_size() elements; x and y may be the same array. A NaN or infinity would spread to the
// other line of the same FFT; if the result has one, each line is transformed again, paired with itself.
template <class T>
void transform_lines(const LinePlan<T>& plan, const T* x, const Lines<T>& from, T* y, const Lines<T>& to, T first,
                     T scale, Pair<T>* work) {
  const auto result = transform_group(plan, x, from, first, scale, work);
  if (result.finite()) return store_group(result, y, to, plan.length);
  for (int64_t half = 0; half < 2; ++half) {
    const auto alone = transform_group(plan, x, half_of(from, half), first, scale, work);
    store_group(alone, y, half_of(to, half), plan.length);
  }
}

}  // namespace PYDLX_SIMD
}  // namespace pydlx
