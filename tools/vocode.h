/* vocode.h - what the two halves of sa2 vocode share: speech tokens to sound, and mel to sound.
 */
#ifndef SA2_TOOLS_VOCODE_H
#define SA2_TOOLS_VOCODE_H

#include "runtime/audio/audio_writer.h"
#include "tools/model_flags.h"
#include "tools/sound_log.h"
#include "tools/terminal.h"

typedef struct sa2_vocoding {
    sa2_usage_text usage;
    sa2_model_flags flags;
    const char *voice, *store; /* a name, a recording or a tensor file; the folder of voices */
    const char *input;         /* tokens: a path or "-"; NULL where there is a mel */
    const char *mel, *noise;   /* tensor files */
    const char *output, *plot, *dtype;
    int chunk, first_chunk; /* tokens; 0: not given */
    int64_t seed, flow_seed;
    bool stream, no_source_noise, float_samples, json;

    sa2_backend *backend;
    sa2_audio_writer *writer;
    sa2_progress progress;
    sa2_sound_log log;
    int n_tokens; /* or what mel frames are worth: two make one */
    double wall_s;
    int output_code; /* exit code of a failure to write, EX_OK: none */
} sa2_vocoding;

/* Opens the output and starts the clock: everything is ready to compute. */
sa2_status sa2_vocoding_begin(sa2_vocoding *v, sa2_error *err);

/* The next samples, which end `done` of n_tokens. */
sa2_status sa2_vocoding_emit(sa2_vocoding *v, const float *samples, int64_t n, int done,
                             sa2_error *err);

/* All of it, between begin and the last emit. Nothing stays open but the output. */
sa2_status sa2_vocode_tokens(sa2_vocoding *v, sa2_error *err);
sa2_status sa2_vocode_mel(sa2_vocoding *v, sa2_error *err);

#endif
