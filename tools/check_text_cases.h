/* check_text_cases.h - the kinds of text cases; see check_text.h.
 */
#ifndef SA2_TOOLS_CHECK_TEXT_CASES_H
#define SA2_TOOLS_CHECK_TEXT_CASES_H

#include <stdbool.h>

#include <jansson.h>

#include "tokenizer/growing.h"
#include "tools/check_text.h"

/* One line at work. */
typedef struct check_case {
    const sa2_check_text_context *context;
    json_t *line;
    bool is_release;      /* the vocabulary: which of two lists of ids is meant */
    sa2_bytes difference; /* a line for each; empty: none */
} check_case;

/* Each runs a case of its kind and notes the differences. Errors: SA2_ERR_FORMAT when the line
 * lacks something, and what the engine refuses that the case expects to work. */
sa2_status check_encode(check_case *c, sa2_error *err);
sa2_status check_decode(check_case *c, sa2_error *err);
sa2_status check_prompt(check_case *c, sa2_error *err);
sa2_status check_request(check_case *c, sa2_error *err);
sa2_status check_history(check_case *c, sa2_error *err);
sa2_status check_answer(check_case *c, sa2_error *err);
sa2_status check_demo_answer(check_case *c, sa2_error *err);

/* ---- reading and comparing ---- */

/* The list of ids under `key`, appended. Errors: SA2_ERR_FORMAT. */
sa2_status check_read_ids(const check_case *c, const char *key, sa2_ids *ids, sa2_error *err);

/* The text under `key`. Errors: SA2_ERR_FORMAT. */
sa2_status check_read_text(const check_case *c, const char *key, const char **text, size_t *n,
                           sa2_error *err);

/* Notes where what was found differs from the list or the text under `key`. */
sa2_status check_same_ids(check_case *c, const char *key, const sa2_ids *found, sa2_error *err);
sa2_status check_same_text(check_case *c, const char *key, const sa2_bytes *found, sa2_error *err);

/* Notes a difference. */
void check_differs(check_case *c, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
