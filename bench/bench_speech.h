/* bench_speech.h - rows of sa2 bench parts for speech out: flow, vocoder, both in streams, and what makes a voice.
 */
#ifndef SA2_BENCH_BENCH_SPEECH_H
#define SA2_BENCH_BENCH_SPEECH_H

#include "bench/measure.h"

/* Synthetic weights of a preset, in f32 and with the flow's products in bf16; a row for each case whose name the
 * filter of the bench holds. */
sa2_status sa2_bench_speech(sa2_bench *bench, const char *preset, sa2_error *err);

/* The same for the speech tokenizer, the speaker encoder, and both with their spectra. */
sa2_status sa2_bench_voice(sa2_bench *bench, const char *preset, sa2_error *err);

#endif
