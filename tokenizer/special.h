/* special.h - the ids of the tokens that the protocol of Step-Audio 2 is made of.
 *
 * They are found by their text, never by number: a smaller vocabulary has other ids.
 */
#ifndef SA2_TOKENIZER_SPECIAL_H
#define SA2_TOKENIZER_SPECIAL_H

#include <stdbool.h>
#include <stdint.h>

#include "kernels/base/status.h"
#include "tokenizer/tokenizer.h"

enum {
    SA2_SPEECH_CODES = 6561, /* 3^8, the codebook of the speech tokenizer: <audio_0> and on */
    SA2_N_STOP_IDS = 3,
};

typedef struct sa2_special {
    int32_t turn_begin;               /* <|BOT|> */
    int32_t turn_end;                 /* <|EOT|> */
    int32_t audio_start;              /* <audio_start> */
    int32_t audio_end;                /* <audio_end> */
    int32_t audio_patch;              /* <audio_patch>: one row of the adaptor */
    int32_t tts_start;                /* <tts_start> */
    int32_t tts_end;                  /* <tts_end> */
    int32_t tts_pad;                  /* <tts_pad>: no text in this slot of an answer */
    int32_t speech_first;             /* <audio_0>; code c is speech_first + c */
    int32_t speech_pad;               /* <audio_6561>: no code in this slot of an answer */
    int32_t tool_call_begin;          /* <tool_call> */
    int32_t tool_call_end;            /* </tool_call> */
    int32_t end_of_text;              /* <|endoftext|>, where the base model stops */
    int32_t message_end;              /* <|im_end|> */
    int32_t stop_ids[SA2_N_STOP_IDS]; /* turn_end, end_of_text, message_end */
} sa2_special;

/* Errors: SA2_ERR_FORMAT, with a line for each token that is missing, and when the <audio_N> do
 * not have consecutive ids. */
sa2_status sa2_special_find(sa2_special *special, const sa2_tokenizer *tokenizer, sa2_error *err);

bool sa2_special_is_stop(const sa2_special *special, int32_t id);

/* <audio_0> to <audio_6560>: not the padding. */
bool sa2_special_is_speech(const sa2_special *special, int32_t id);

#endif
