// The constant of OKS that pose suppression (nms) needs as well.
#pragma once

namespace pydlx {

// Added to areas, as in COCO's evaluation (numpy.spacing(1)).
constexpr double kOksSpacing = 0x1p-52;

}  // namespace pydlx
