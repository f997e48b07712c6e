/* step_news.h - what rank 0 tells the others before each step: which positions of which pages, and no more.
 *
 * The others need no tokens, sounds or requests: the rows themselves come from rank 0 as the decoder embeds them.
 */
#ifndef SA2_RUNTIME_SERVING_STEP_NEWS_H
#define SA2_RUNTIME_SERVING_STEP_NEWS_H

#include <stdbool.h>

#include "kernels/ops.h"

/* Arrays are the step's; sizes of theirs are limits when news is read. */
typedef struct sa2_step_news {
    bool end; /* no step: there will be none any more */
    int n_parts, n_rows, n_logits, n_copies;
    int32_t *offsets, *first_position; /* [n_parts + 1], [n_parts] */
    int32_t *block_table;              /* [n_parts, max_pages] */
    int32_t *logits_rows;              /* [n_logits] */
    sa2_page_copy *copies;             /* [n_copies] */
    int max_pages, page_size;
} sa2_step_news;

/* Of the longest message. */
size_t sa2_step_news_bytes(int max_parts, int max_pages);

/* Returns how many bytes it wrote. */
size_t sa2_step_news_write(void *message, const sa2_step_news *news);

/* Fills *news, whose arrays and limits are set. Errors: SA2_ERR_FORMAT news of more than that. */
sa2_status sa2_step_news_read(sa2_step_news *news, int max_rows, int max_parts, const void *message,
                              size_t bytes, sa2_error *err);

#endif
