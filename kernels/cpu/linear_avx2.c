/* linear_avx2.c - the products of product.h in AVX2 with FMA: 12 of 16 registers hold sums. */
enum { STRIP_ROWS = 6, STRIP_BLOCKS = 1 };

#include "kernels/cpu/linear_fma.h"

const sa2_product_kernel sa2_product_f32_avx2 = {.run = run_f32};

const sa2_product_kernel sa2_product_bf16_avx2 = {
    .panel_bytes = wide_panel_bytes, .pack = pack_wide, .run = run_wide};
