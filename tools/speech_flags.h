/* speech_flags.h - the options of subcommands that speak, the voice they name, and where the sound goes.
 */
#ifndef SA2_TOOLS_SPEECH_FLAGS_H
#define SA2_TOOLS_SPEECH_FLAGS_H

#include "runtime/audio/audio_writer.h"
#include "tools/engine_flags.h"
#include "tools/sound_log.h"

enum { SA2_SPEECH_FLAGS_MAX = 12 };

typedef struct sa2_speech_flags {
    const char *voice, *store, *output, *dtype, *plot;
    int first_chunk, max_seconds;
    int64_t seed, noise_seed;
    sa2_option table[SA2_SPEECH_FLAGS_MAX]; /* for an option group */

    sa2_voice made; /* what the model made of the voice */
    sa2_audio_writer *writer;
    sa2_sound_log log; /* for a picture, where one was asked for */
} sa2_speech_flags;

/* Sets defaults and fills the table, which points into *flags. */
void sa2_speech_flags_init(sa2_speech_flags *flags);

/* Whether there is to be sound; then text does not go to standard output when the sound does. */
bool sa2_speech_flags_wanted(const sa2_speech_flags *flags);
bool sa2_speech_flags_take_stdout(const sa2_speech_flags *flags);

/* After reading and before the engine is opened: checks the values, reads the voice, tells the engine's options. EX_OK,
 * or an exit code after an explanation. Nothing to do when there is to be no sound. */
int sa2_speech_flags_prepare(sa2_speech_flags *flags, const sa2_usage_text *usage,
                             sa2_engine_flags *engine);

/* After it is open: the engine learns the voice, the file is opened. EX_OK, or an exit code after an explanation. */
int sa2_speech_flags_begin(sa2_speech_flags *flags, const sa2_usage_text *usage,
                           sa2_engine *engine);

/* The answer is spoken in the voice. */
void sa2_speech_flags_request(const sa2_speech_flags *flags, sa2_request *request);

/* A question was asked: times count from here. */
void sa2_speech_flags_asked(sa2_speech_flags *flags);

/* Writes the samples of an event, if it has any. */
sa2_status sa2_speech_flags_write(sa2_speech_flags *flags, const sa2_event *event, sa2_error *err);

/* "1.96 s of sound, the first after 350 ms, 0.45 s a second" of an answer, on stderr. */
void sa2_speech_flags_show_cost(const sa2_speech_flags *flags, int64_t n_samples,
                                const sa2_timings *timings);

/* Completes the file, and draws the picture if there was any sound. */
sa2_status sa2_speech_flags_finish(sa2_speech_flags *flags, sa2_error *err);
void sa2_speech_flags_free(sa2_speech_flags *flags);

#endif
