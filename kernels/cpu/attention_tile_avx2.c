/* attention_tile_avx2.c - attention_tile.h in AVX2 with FMA. */
#include "kernels/cpu/attention_tile_body.h"

const sa2_tile_kernels *sa2_tile_avx2(void)
{
    return &tile_table;
}
