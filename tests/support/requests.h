/* requests.h - requests of a few tokens to the small model (small_model.h), and the ways of choosing that a device has.
 */
#ifndef SA2_TESTS_SUPPORT_REQUESTS_H
#define SA2_TESTS_SUPPORT_REQUESTS_H

#include "runtime/engine.h"

enum { TEST_PROMPT = 4, TEST_KINDS = 6 };

/* Biases of 44 and 600 up and of 45 down; ids that are stopped at, 44 to 46, and allowed, 50 to 53; 44 alone and 600 twice. */
extern const sa2_logit_bias test_bias[3];
extern const sa2_token_list test_stop, test_allowed, test_bad_words[2];

/* One of three prompts, of three or four ids; max_tokens are said, each with its log-probability. */
extern const int32_t test_prompts[3][TEST_PROMPT];
sa2_request test_request(int i, int max_tokens);

/* The same, chosen in way i of TEST_KINDS: greedily, in three answers, in the order of HF, to a stop that comes when it may,
 * beside a bad word, of the best few. */
sa2_request test_request_kind(int i, int max_tokens);

#endif
