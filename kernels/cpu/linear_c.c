/* linear_c.c - the products of product.h in plain C. */
enum { STRIP_ROWS = 6, STRIP_BLOCKS = 1 };

#include "kernels/cpu/linear_fma.h"

const sa2_product_kernel sa2_product_f32_c = {.run = run_f32};

const sa2_product_kernel sa2_product_bf16_c = {
    .panel_bytes = wide_panel_bytes, .pack = pack_wide, .run = run_wide};
