#include "runtime/serving/step_news.h"

#include <string.h>

enum { HEAD = 4 }; /* parts, logits, copies, end */

size_t sa2_step_news_bytes(int max_parts, int max_pages)
{
    size_t n = (size_t)max_parts;
    return (HEAD + n * (2 + 1 + 2 + (size_t)max_pages)) * sizeof(int32_t);
}

/* Pages that rows [first, first + n) and those before them lie in. */
static int pages_of(const sa2_step_news *news, int first, int n)
{
    return (first + n + news->page_size - 1) / news->page_size;
}

static int32_t *put(int32_t *to, const void *from, int n)
{
    memcpy(to, from, (size_t)n * sizeof *to);
    return to + n;
}

size_t sa2_step_news_write(void *message, const sa2_step_news *news)
{
    int32_t *at = message;
    *at++ = news->n_parts;
    *at++ = news->n_logits;
    *at++ = news->n_copies;
    *at++ = news->end;
    for (int i = 0; i < news->n_parts; i++) {
        int n = news->offsets[i + 1] - news->offsets[i];
        *at++ = news->first_position[i];
        *at++ = n;
        at = put(at, news->block_table + (size_t)i * (size_t)news->max_pages,
                 pages_of(news, news->first_position[i], n));
    }
    at = put(at, news->logits_rows, news->n_logits);
    at = put(at, news->copies, 2 * news->n_copies);
    return (size_t)(at - (int32_t *)message) * sizeof *at;
}

static sa2_status wrong(sa2_error *err)
{
    return sa2_fail(err, SA2_ERR_FORMAT, "news of a step that does not fit this rank's plan");
}

/* The next n numbers, or NULL when there are fewer. */
static const int32_t *take(const int32_t **at, const int32_t *end, int64_t n)
{
    const int32_t *from = *at;
    if (n < 0 || n > end - from)
        return NULL;
    *at = from + n;
    return from;
}

sa2_status sa2_step_news_read(sa2_step_news *news, int max_rows, int max_parts, const void *message,
                              size_t bytes, sa2_error *err)
{
    const int32_t *at = message, *end = at + bytes / sizeof *at;
    const int32_t *head = take(&at, end, HEAD), *from;
    if (head == NULL || head[0] < 0 || head[0] > max_parts || head[1] < 0 || head[1] > head[0] ||
        head[2] < 0 || head[2] > max_parts)
        return wrong(err);
    news->n_parts = head[0];
    news->n_logits = head[1];
    news->n_copies = head[2];
    news->end = head[3] != 0;
    news->n_rows = news->offsets[0] = 0;
    for (int i = 0; i < news->n_parts; i++) {
        const int32_t *part = take(&at, end, 2);
        if (part == NULL || part[0] < 0 || part[1] < 1 || part[1] > max_rows - news->n_rows ||
            part[0] > news->max_pages * news->page_size - part[1])
            return wrong(err);
        int pages = pages_of(news, part[0], part[1]);
        if ((from = take(&at, end, pages)) == NULL)
            return wrong(err);
        memcpy(news->block_table + (size_t)i * (size_t)news->max_pages, from,
               (size_t)pages * sizeof *from);
        news->first_position[i] = part[0];
        news->n_rows += part[1];
        news->offsets[i + 1] = news->n_rows;
    }
    if ((from = take(&at, end, news->n_logits)) == NULL)
        return wrong(err);
    memcpy(news->logits_rows, from, (size_t)news->n_logits * sizeof *from);
    if ((from = take(&at, end, 2 * (int64_t)news->n_copies)) == NULL)
        return wrong(err);
    memcpy(news->copies, from, (size_t)news->n_copies * sizeof *news->copies);
    return SA2_OK;
}
