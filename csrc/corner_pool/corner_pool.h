// Corner pooling (Law and Deng, "CornerNet: Detecting Objects as Paired Keypoints", arXiv 1808.01244).
//
// Every element becomes the largest of the elements from itself to one edge of the map, x and y (N, C, H, W):
//
//     top     y[i, j] = max x[i.., j]        left    y[i, j] = max x[i, j..]
//     bottom  y[i, j] = max x[..i, j]        right   y[i, j] = max x[i, ..j]
//     pair    y = top(a) + left(b),  or  bottom(a) + right(b)
//
// So y is a running maximum that starts at the edge. A later element takes over only if it is greater, so that the
// first of equal elements keeps the gradient; 0 and -0 are equal. NaN takes over from any number and stays:
//
//     dx[k] = sum of g[h] over the elements h whose running maximum is element k
//
// Bytes a forward must move: x (both of a pair) once, y once. A backward: x, g and dx once each; no index is saved,
// because the scan is cheaper to repeat than an index is to read.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "common/accumulate.h"
#include "common/checks.h"
#include "common/tensor_utils.h"

namespace pydlx {

enum CornerDirection : int64_t { kTop, kBottom, kLeft, kRight };

// A dense tensor as `outer` blocks of (length, inner), scanned along `length`. Contiguous: inner is W for columns and 1
// for rows. Channels-last: W C and C.
struct CornerScan {
  int64_t outer, length, inner;
  bool from_end;

  // Place within a block of the line that the scan meets at step k.
  PYDLX_HOST_DEVICE int64_t line(int64_t k) const { return (from_end ? length - 1 - k : k) * inner; }
  int64_t size() const { return outer * length * inner; }
};

inline CornerScan corner_scan(const Tensor& x, int64_t direction) {
  const Arguments arguments("corner_pool", "x", x);
  arguments.check_dims("x", x, 4, 4);
  arguments.check_range("direction", direction, kTop, kRight);
  const bool channels_last = is_channels_last(x), rows = direction >= kLeft;
  CornerScan scan{};
  scan.length = x.size(rows ? 3 : 2);
  scan.inner = (rows ? 1 : x.size(3)) * (channels_last ? x.size(1) : 1);
  scan.outer = x.size(0) * (channels_last ? 1 : x.size(1)) * (rows ? x.size(2) : 1);
  scan.from_end = direction == kTop || direction == kLeft;
  return scan;
}

}  // namespace pydlx
