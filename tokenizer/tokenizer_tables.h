/* tokenizer_tables.h - the inside of a sa2_tokenizer, for encoding.
 */
#ifndef SA2_TOKENIZER_TOKENIZER_TABLES_H
#define SA2_TOKENIZER_TOKENIZER_TABLES_H

#include "kernels/base/arena.h"
#include "tokenizer/added_tokens.h"
#include "tokenizer/merge_table.h"
#include "tokenizer/tokenizer.h"

struct sa2_tokenizer {
    sa2_arena arena;   /* holds everything, this struct as well */
    sa2_token *tokens; /* [n_ids]; bytes NULL: no token has this id */
    int32_t n_ids;
    sa2_merge_table merges;
    sa2_added_tokens added;
    int32_t byte_ids[256]; /* the token of each single byte */
};

#endif
