/* bench_accuracy.h - sa2 bench accuracy: what rounding the weights changes in what the decoder says.
 */
#ifndef SA2_BENCH_BENCH_ACCURACY_H
#define SA2_BENCH_BENCH_ACCURACY_H

int sa2_bench_accuracy(int argc, char **argv);

#endif
