/* script.h - a text that is spoken word for word: its ids in the text slots, codes that the model chooses between.
 *
 * An answer is groups of a text id and four speech ids (ta4.h). The first slot of each group is given while there is
 * text; then it is <tts_pad>, until the model says <tts_end>, behind which the answer ends.
 */
#ifndef SA2_RUNTIME_SERVING_SCRIPT_H
#define SA2_RUNTIME_SERVING_SCRIPT_H

#include "runtime/decoder/sampling_params.h"
#include "tokenizer/special.h"

typedef struct sa2_script {
    const int32_t *ids; /* [n] of the text */
    int n;              /* 0: no script, the model says what it likes */
    int32_t end[2];     /* <tts_pad>, <tts_end> */
    int32_t stop;       /* the end of the turn */
    int32_t *speech;    /* [n_speech]: all codes, then the padding code */
    int n_speech;
} sa2_script;

/* Places of `speech`. */
int sa2_script_speech_ids(const sa2_special *special);
/* Of a text's ids [n], 1 or more, which outlive the script; so does speech [sa2_script_speech_ids()]. */
sa2_script sa2_script_of(const sa2_special *special, const int32_t *ids, int n, int32_t *speech);

/* Tokens that a script of n text ids has at least, its end included. */
int sa2_script_least_tokens(int n);

/* What may come behind generated [n_generated]: a list that lives as long as the script; empty: anything. */
sa2_token_list sa2_script_next(const sa2_script *script, const int32_t *generated, int n_generated);

#endif
