/* answers.h - everything that an engine said to one request, for comparison.
 */
#ifndef SA2_TESTS_SUPPORT_ANSWERS_H
#define SA2_TESTS_SUPPORT_ANSWERS_H

#include "runtime/engine.h"
#include "tokenizer/growing.h"

/* How long an engine may be silent: sound from a simulated GPU on a busy machine takes more than a minute. */
enum { TEST_PATIENCE_MS = 300000 };

enum { TEST_MAX_CHOICES = 4, TEST_MAX_TOKENS = 512, TEST_MAX_TOP = 4 };

typedef struct test_choice {
    sa2_bytes text, reasoning, spoken;
    sa2_bytes sound;                     /* samples, as bytes */
    sa2_ids codes, ids;                  /* ids as FINISHED gave them */
    sa2_logprob tokens[TEST_MAX_TOKENS]; /* as TOKEN events gave them */
    sa2_logprob top[TEST_MAX_TOKENS][TEST_MAX_TOP];
    int n_tokens, n_tools;
    char tool_name[64], tool_arguments[256]; /* of the last call */
    int n_finished;
    sa2_finish finish;
    char stop_string[64]; /* "" for none */
    int32_t stop_id;
    double score;
} test_choice;

typedef struct test_answer {
    test_choice choices[TEST_MAX_CHOICES];
    int n_done, n_events_after_done;
    sa2_finish finish;
    sa2_usage usage;
    sa2_timings timings;
    sa2_status status;
    char message[512];
} test_answer;

void test_answer_take(test_answer *answer, const sa2_event *event);
void test_answer_free(test_answer *answer); /* back to zero */
void test_answers_free(test_answer *answers, int n);

/* Fails the test, naming `what` and the place, unless both said the same, to the bit. */
void assert_same_answer(const char *what, const test_answer *a, const test_answer *b);

/* Takes events until every request ids[i] has ended; answers[i] are theirs, which may have begun. Fails after silence of
 * TEST_PATIENCE_MS. */
void test_answers_collect(sa2_engine *engine, const sa2_request_id *ids, test_answer *answers,
                          int n);

/* Submits a request, which must be taken. */
sa2_request_id test_submit(sa2_engine *engine, const sa2_request *request);

/* Submits n requests, which must be taken and begin in the same step where there is room, and collects their answers. */
void test_answers_ask(sa2_engine *engine, const sa2_request *requests, test_answer *answers, int n);

/* Submits one request, which must be taken, and collects its answer. */
void test_answer_ask(sa2_engine *engine, const sa2_request *request, test_answer *answer);

sa2_engine_stats test_stats(sa2_engine *engine);

/* Nobody runs or waits, all pages are free, and so is the memory of requests. */
void assert_nothing_is_left(sa2_engine *engine);

/* The one refusal with a message that contains `part`. */
void assert_request_refused(sa2_engine *engine, const sa2_request *request, sa2_status status,
                            const char *part);

#endif
