/* bench_kernel.h - sa2 bench kernel: single operations at the model's shapes.
 */
#ifndef SA2_BENCH_BENCH_KERNEL_H
#define SA2_BENCH_BENCH_KERNEL_H

/* argv[0] is the name; an exit code of sysexits.h. */
int sa2_bench_kernel(int argc, char **argv);

#endif
