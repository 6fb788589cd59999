"""The sixteen rows of a whole benchmark that the short picture shows."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Headline:
    """A case, with what its row is called and whom it is compared with.

    Attributes:
        op: The op's name in the catalogue.
        case: The case's label there.
        title: What the row is called.
        formula: The candidate that is the same in stock PyTorch or NumPy, as people write it; None if there is none.
        peer: The candidate that is another library's; None if there is none.
    """

    op: str
    case: str
    title: str
    formula: str | None = None
    peer: str | None = None


HEADLINES = (
    Headline("soft_pool", "k2 s2 16×64×112×112 forward+backward", "SoftPool2d, with gradient", "eager", "max_pool"),
    Headline("sequence_pool", "soft 64×400×256 lengths forward", "SequencePool, soft", "eager"),
    Headline("corner_pool", "top_left 4×128×128×128 forward+backward", "corner pooling, with gradient", "cummax"),
    Headline(
        *("attention_rnn", "gated GRU, self-matching 32×150×150, H 75 forward+backward"),
        *("AttentionRNN, gated, with gradient", "step loop"),
    ),
    Headline("trilinear_attention", "16×400×50×128 padded forward+backward", "trilinear attention", "concatenation"),
    Headline("global_pointer_loss", "8×10×512×64 forward+backward", "GlobalPointer's loss, with gradient", "dense"),
    Headline("decode_spans", "32×400 window 15", "best answer span", "outer product"),
    Headline("decode_corners", "objects 1×80×128×128", "CornerNet's decoding", "eager"),
    Headline("oks", "64×100×50×17 forward", "OKS of 320,000 pairs of poses", "eager"),
    Headline(
        *("confusion_matrix", "regions 1024×2048 int64", "confusion matrix, 2 megapixels"),
        *("numpy bincount", "torchmetrics"),
    ),
    Headline("keypoint_ap", "5000 images, 104125 detections, from arrays", "KeypointAP, 104,125 poses", peer="hotcoco"),
    Headline(
        *("ssim", "1×3×1080×1920 forward+backward", "SSIM, full HD, with gradient", "reference", "pytorch-msssim"),
    ),
    Headline("dct", "dctn 3×1024×1024", "cosine transform", "reference", "scipy.fft"),
    Headline("poisson", "dirichlet 3×1024×1024", "Poisson equation", "reference", "scipy.fft"),
    Headline("poisson", "gaussian 3×1024×1024", "Gaussian-Poisson equation", "reference", "scipy.fft"),
    Headline("blend", "poisson 1 Mpixel", "Poisson blending, 1 megapixel", peer="cv2.seamlessClone"),
)
