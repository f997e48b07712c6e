/* linear_i8_c.c - products with a matrix in 8 bits, in plain C. */
#include "kernels/cpu/linear_i8.h"

static void row_c(const int8_t *x, const int8_t *w, int64_t steps, int32_t *ints)
{
    for (int line = 0; line < 2; line++) {
        int32_t sums[SA2_BLOCK] = {0};
        const int8_t *from = w;
        for (int64_t step = 0; step < steps; step++) {
            const int8_t *values = x + step * I8_STEP_BYTES + line * SA2_I8_COLS;
            for (int k = 0; k < SA2_I8_COLS; k += 4, from += 4 * SA2_BLOCK)
                for (int i = 0; i < SA2_BLOCK; i++)
                    for (int j = 0; j < 4; j++)
                        sums[i] += values[k + j] * from[4 * i + j];
        }
        memcpy(ints + line * I8_OUTPUTS, sums, sizeof sums);
    }
}

static void run(const sa2_product *p, const sa2_product_part *part, const void *panels,
                int64_t first_row, void *space)
{
    (void)space;
    i8_run_rows(p, part, panels, first_row, row_c);
}

const sa2_product_kernel sa2_product_i8_c = {
    .panel_bytes = i8_panel_bytes, .pack = i8_pack, .run = run};
