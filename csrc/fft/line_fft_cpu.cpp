// The FFT of a single line, for the tables of plans (fft.h).
#include "common/workspace.h"
#include "fft/fft.h"

#define PYDLX_SIMD_FILE "fft/line_fft_simd.h"
#include "common/foreach_simd.h"

namespace pydlx {

Table<std::complex<double>> transformed(const Table<std::complex<double>>& line) {
  return PYDLX_SIMD_CALL(transformed)(line);
}

}  // namespace pydlx
