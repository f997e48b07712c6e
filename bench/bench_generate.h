/* bench_generate.h - sa2 bench generate: batches of requests through the whole engine.
 */
#ifndef SA2_BENCH_BENCH_GENERATE_H
#define SA2_BENCH_BENCH_GENERATE_H

/* argv[0] is the name; an exit code of sysexits.h. */
int sa2_bench_generate(int argc, char **argv);

#endif
