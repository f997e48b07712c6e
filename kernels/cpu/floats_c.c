/* floats_c.c - floats.h in plain C, for any machine. */
#include "kernels/cpu/floats_body.h"

const sa2_floats *sa2_floats_c(void)
{
    return &floats_table;
}
