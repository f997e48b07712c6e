#include "tokenizer/think.h"

#include <string.h>

static const char OPEN[] = "<think>";
static const char CLOSE[] = "</think>";

const char *sa2_think_prefill(sa2_template template)
{
    return template == SA2_TEMPLATE_FORK ? "<think>" : "\n<think>\n";
}

void sa2_think_answer_prefill(sa2_template template, const char *reasoning, size_t n, bool spoken,
                              sa2_bytes *prefill)
{
    sa2_bytes_append_text(prefill, sa2_think_prefill(template));
    sa2_bytes_append(prefill, reasoning, n);
    sa2_bytes_append_text(prefill, spoken ? "</think>\n\n<tts_start>" : "</think>\n\n");
}

void sa2_think_splitter_init(sa2_think_splitter *splitter, bool inside)
{
    *splitter = (sa2_think_splitter){.phase = inside ? SA2_THINK_INSIDE : SA2_THINK_BEFORE};
}

/* The tag that ends this phase, or NULL. */
static const char *tag_of(sa2_think_phase phase)
{
    switch (phase) {
    case SA2_THINK_BEFORE:
        return OPEN;
    case SA2_THINK_INSIDE:
        return CLOSE;
    case SA2_THINK_CLOSED:
    case SA2_THINK_AFTER:
        break;
    }
    return NULL;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

/* Text that is no tag. */
static void put(sa2_think_splitter *splitter, char c, sa2_bytes *reasoning, sa2_bytes *answer)
{
    if (splitter->phase == SA2_THINK_INSIDE) {
        sa2_bytes_append(reasoning, &c, 1);
    } else if (splitter->phase == SA2_THINK_AFTER || !is_blank(c)) {
        splitter->phase = SA2_THINK_AFTER;
        sa2_bytes_append(answer, &c, 1);
    }
}

/* Gives out what is held, now that it is known to be no tag. */
static void release(sa2_think_splitter *splitter, sa2_bytes *reasoning, sa2_bytes *answer)
{
    size_t n = splitter->n_held;
    const char *tag = tag_of(splitter->phase);
    splitter->n_held = 0;
    for (size_t i = 0; i < n; i++)
        put(splitter, tag[i], reasoning, answer);
}

void sa2_think_split(sa2_think_splitter *splitter, const char *text, size_t n, sa2_bytes *reasoning,
                     sa2_bytes *answer)
{
    for (size_t i = 0; i < n; i++) {
        const char *tag = tag_of(splitter->phase);
        if (splitter->n_held > 0 && text[i] != tag[splitter->n_held]) {
            release(splitter, reasoning, answer);
            tag = tag_of(splitter->phase);
        }
        if (tag == NULL || text[i] != tag[splitter->n_held]) {
            put(splitter, text[i], reasoning, answer);
        } else if (tag[++splitter->n_held] == '\0') {
            splitter->n_held = 0;
            splitter->phase = tag == OPEN ? SA2_THINK_INSIDE : SA2_THINK_CLOSED;
        }
    }
}

void sa2_think_flush(sa2_think_splitter *splitter, sa2_bytes *reasoning, sa2_bytes *answer)
{
    release(splitter, reasoning, answer);
}
