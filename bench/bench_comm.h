/* bench_comm.h - sa2 bench comm: what ranks do together, by size, in the manner of NVIDIA's nccl-tests.
 */
#ifndef SA2_BENCH_BENCH_COMM_H
#define SA2_BENCH_BENCH_COMM_H

int sa2_bench_comm(int argc, char **argv);

#endif
