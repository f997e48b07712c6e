/* speech_bench.h - token2wav at a preset's shape with streams that stand behind their third chunk, so that a chunk
 * of fixed shape can be computed again and again.
 */
#ifndef SA2_BENCH_SPEECH_BENCH_H
#define SA2_BENCH_SPEECH_BENCH_H

#include "runtime/token2wav/speech.h"

enum {
    SA2_SPEECH_BENCH_STREAMS = 4,
    SA2_SPEECH_BENCH_VOICE = 226, /* codes of the voice prompt: 9 s */
    SA2_SPEECH_BENCH_WHOLE = 125, /* codes of a whole sound: 5 s */
    SA2_SPEECH_BENCH_CODES = 4 * SA2_SPEECH_CHUNK + 3,
};

typedef struct sa2_speech_bench {
    sa2_token2wav token2wav;
    sa2_voice voice;
    sa2_speech_voice prepared;
    int n; /* streams */
    int32_t codes[SA2_SPEECH_BENCH_STREAMS][SA2_SPEECH_BENCH_CODES];
    sa2_speech streams[SA2_SPEECH_BENCH_STREAMS];
    sa2_speech ready[SA2_SPEECH_BENCH_STREAMS]; /* as they were before the chunk */
    int32_t whole_codes[SA2_SPEECH_BENCH_WHOLE];
    float *mel, *samples; /* of the whole sound */
    int64_t n_mel, n_samples;
} sa2_speech_bench;

/* Synthetic weights. The caller closes *b, after a failure too; zeroed is fine. */
sa2_status sa2_speech_bench_open(sa2_speech_bench *b, sa2_backend *backend, const char *preset,
                                 bool bf16, int n, sa2_error *err);
void sa2_speech_bench_close(sa2_speech_bench *b);

/* Each computes the same every time. */
sa2_status sa2_speech_bench_chunk(sa2_speech_bench *b, sa2_error *err); /* of all streams */
sa2_status sa2_speech_bench_flow_chunk(sa2_speech_bench *b, sa2_error *err);
sa2_status sa2_speech_bench_vocoder_chunk(sa2_speech_bench *b, sa2_error *err);
sa2_status sa2_speech_bench_whole(sa2_speech_bench *b, sa2_error *err); /* fills mel, samples */
sa2_status sa2_speech_bench_flow_whole(sa2_speech_bench *b, sa2_error *err);
sa2_status sa2_speech_bench_vocoder_whole(sa2_speech_bench *b, sa2_error *err);
sa2_status sa2_speech_bench_voice(sa2_speech_bench *b, sa2_error *err); /* made and forgotten */

/* Operations of products, convolutions and attention. */
double sa2_speech_bench_flow_flops(const sa2_speech_bench *b, int codes, int keys, int n);
double sa2_speech_bench_vocoder_flops(const sa2_speech_bench *b, int64_t frames);

#endif
