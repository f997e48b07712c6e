/* linear_i4_c.c - products with a matrix in 4 bits, in plain C. */
#include "kernels/cpu/linear_i4.h"

static void row_c(const int8_t *x, int32_t of_group, const uint8_t *tile, const uint8_t *factors,
                  int32_t sums[SA2_BLOCK])
{
    int32_t here[SA2_BLOCK];
    for (int i = 0; i < SA2_BLOCK; i++)
        here[i] = of_group;
    for (int k = 0; k < SA2_I4_GROUP; k += 8, x += 8)
        for (int i = 0; i < SA2_BLOCK; i++)
            for (int j = 0; j < 4; j++, tile++)
                here[i] += x[j] * (*tile & 15) + x[4 + j] * (*tile >> 4);
    for (int i = 0; i < SA2_BLOCK; i++)
        sums[i] += here[i] * factors[i];
}

static void run(const sa2_product *p, const sa2_product_part *part, const void *panels,
                int64_t first_row, void *space)
{
    (void)space;
    i4_run_rows(p, part, panels, first_row, row_c);
}

const sa2_product_kernel sa2_product_i4_c = {
    .panel_bytes = i4_panel_bytes, .pack = i4_pack, .run = run};
