/* ta4.h - spoken answers: one text token, then four speech tokens, and so on.
 *
 * After <tts_start> the model writes groups of a text id and four speech ids, padded where one of
 * both has ended, then <tts_end>, then perhaps ordinary text with tool calls.
 */
#ifndef SA2_TOKENIZER_TA4_H
#define SA2_TOKENIZER_TA4_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/base/status.h"
#include "tokenizer/encode.h"
#include "tokenizer/growing.h"
#include "tokenizer/special.h"

enum { SA2_TA4_CODES = 4 }; /* speech ids of a group */

/* Appends the ids of a past answer, <tts_start> to <tts_end>. tts_audio holds <audio_N> one after
 * the other. `short_tail` is the rule of StepFun's fork of vLLM, which leaves the speech of the
 * last groups short instead of padding it. Errors: SA2_ERR_FORMAT for other text in tts_audio;
 * SA2_ERR_NOMEM. */
sa2_status sa2_ta4_history(sa2_encoder *encoder, const sa2_special *special, const char *tts_text,
                           size_t n_tts_text, const char *tts_audio, size_t n_tts_audio,
                           bool short_tail, sa2_ids *ids, sa2_error *err);

/* What a generated id is. */
typedef enum sa2_ta4_kind {
    SA2_TA4_NOTHING = 0, /* padding, <tts_start>, <tts_end>, a stop id */
    SA2_TA4_TEXT,        /* of the spoken text */
    SA2_TA4_CODE,        /* a speech code: id - speech_first */
    SA2_TA4_OTHER,       /* ordinary text, tool calls among it */
} sa2_ta4_kind;

/* Tells them apart one by one, by id and section only. */
typedef struct sa2_ta4_splitter {
    bool speaking; /* true before <tts_end> */
} sa2_ta4_splitter;

/* `spoken`: the last id of the prompt is <tts_start>. */
void sa2_ta4_splitter_init(sa2_ta4_splitter *splitter, bool spoken);
sa2_ta4_kind sa2_ta4_split(sa2_ta4_splitter *splitter, const sa2_special *special, int32_t id);

#endif
