/* bench_parts.h - sa2 bench parts: front end, encoder, prefill and a decode step, each alone.
 */
#ifndef SA2_BENCH_BENCH_PARTS_H
#define SA2_BENCH_BENCH_PARTS_H

/* argv[0] is the name; an exit code of sysexits.h. */
int sa2_bench_parts(int argc, char **argv);

#endif
