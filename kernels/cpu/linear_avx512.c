/* linear_avx512.c - the products of product.h in AVX-512: 24 of 32 registers hold sums. */
enum { STRIP_ROWS = 6, STRIP_BLOCKS = 4 };

#include "kernels/cpu/linear_fma.h"

const sa2_product_kernel sa2_product_f32_avx512 = {.run = run_f32};

const sa2_product_kernel sa2_product_bf16_avx512 = {
    .panel_bytes = wide_panel_bytes, .pack = pack_wide, .run = run_wide};
