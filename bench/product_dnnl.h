/* product_dnnl.h - oneDNN's matrix product, the yardstick for ours.
 */
#ifndef SA2_BENCH_PRODUCT_DNNL_H
#define SA2_BENCH_PRODUCT_DNNL_H

#include "bench/measure.h"

/* Operations a second of a 2048^3 product in f32 or bf16 with as many threads as the bench's backend; 0 when the
 * library was not there at build time or has no such product here. */
double sa2_dnnl_product(const sa2_bench *bench, sa2_dtype dtype);

#endif
