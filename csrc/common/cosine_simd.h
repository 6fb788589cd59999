// Cosine and sine transforms of 2 kVecLanes real lines at a time, compiled once per instruction set (cosine.h has the
// formulae). Lines [0, kVecLanes) stand in the `re` vectors, the others in `im`.
namespace pydlx {
namespace PYDLX_SIMD {

template <class T>
constexpr int64_t kGroup = 2 * kVecLanes<T>;

// A group of lines in memory: where each starts, the step from one sample to the next, and how many are real (the rest
// repeat the last one, and are not written).
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

// Sample n of the lines goes to data[place(n)].
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

// Sample n of the lines comes from data[place(n)].
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

// After the FFT of v_a + i v_b: the two lines' DCT-II, in place, in natural order. Output 0 is scaled by `first`, the
// others by `scale`.
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

// DST-I of x[1 .. M-1] in place (x[0] is not touched). `data` is work space of M elements, `work` that of the FFTs.
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

// Samples of a group's results: in `order`, or in natural order where that is null.
template <class T>
struct GroupResult {
  Pair<T>* data;
  const int32_t* order;

  // Every result reads all samples of its line, so that a NaN or an infinity shows in each of them.
  bool finite() const { return !any((data->re - data->re) + (data->im - data->im) != T(0)); }
};

// The transform of one group of lines, in `work`.
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

// The lines that stand in `re` (half 0) or in `im` (half 1), each in both places.
template <class T>
Lines<T> half_of(const Lines<T>& lines, int64_t half) {
  constexpr int64_t L = kVecLanes<T>;
  Lines<T> out;
  out.step = lines.step;
  out.count = std::clamp(lines.count - half * L, int64_t(0), L);
  for (int64_t l = 0; l < L; ++l) out.start[l] = out.start[L + l] = lines.start[half * L + l];
  return out;
}

// x -> y for one group of lines, unscaled except that outputs (of DCT-III: inputs) are multiplied by `scale`, number 0
// by `first`. `work` holds plan.work_size() elements; x and y may be the same. Two lines that share an FFT also share
// what is not finite; then each line is its own partner instead.
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
