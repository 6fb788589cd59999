// The transform of a single line, for the tables of plans.
#include "common/fft.h"
#include "common/workspace.h"

#define PYDLX_SIMD_FILE "common/line_fft_simd.h"
#include "common/foreach_simd.h"

namespace pydlx {

Table<std::complex<double>> transformed(const Table<std::complex<double>>& line) {
  return PYDLX_SIMD_CALL(transformed)(line);
}

}  // namespace pydlx
