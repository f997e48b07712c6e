/* attention_tile_c.c - attention_tile.h in plain C, for any machine. */
#include "kernels/cpu/attention_tile_body.h"

const sa2_tile_kernels *sa2_tile_c(void)
{
    return &tile_table;
}
