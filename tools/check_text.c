#include "tools/check_text.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tokenizer/json_text.h"
#include "tokenizer/text_stream.h"
#include "tools/check_text_cases.h"

/* <|endoftext|> of the release: the file format has two lists of ids, by vocabulary. */
enum { RELEASE_END_OF_TEXT = 151643 };

/* ---- reading and comparing ---- */

void check_differs(check_case *c, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (c->difference.n > 0)
        sa2_bytes_append_text(&c->difference, "; ");
    sa2_bytes_append_text(&c->difference, text);
}

sa2_status check_read_ids(const check_case *c, const char *key, sa2_ids *ids, sa2_error *err)
{
    json_t *list = json_object_get(c->line, key);
    if (!json_is_array(list))
        return sa2_fail(err, SA2_ERR_FORMAT, "%s: a list of ids expected", key);
    for (size_t i = 0; i < json_array_size(list); i++) {
        json_t *id = json_array_get(list, i);
        json_int_t value = json_integer_value(id);
        if (!json_is_integer(id) || value < INT32_MIN || value > INT32_MAX)
            return sa2_fail(err, SA2_ERR_FORMAT, "%s[%zu]: not an id", key, i);
        sa2_ids_append(ids, (int32_t)value);
    }
    return sa2_ids_status(ids, err);
}

sa2_status check_read_text(const check_case *c, const char *key, const char **text, size_t *n,
                           sa2_error *err)
{
    json_t *value = json_object_get(c->line, key);
    if (!json_is_string(value))
        return sa2_fail(err, SA2_ERR_FORMAT, "%s: a text expected", key);
    *text = json_string_value(value);
    *n = json_string_length(value);
    return SA2_OK;
}

sa2_status check_same_ids(check_case *c, const char *key, const sa2_ids *found, sa2_error *err)
{
    sa2_ids expected = {0};
    sa2_status st = check_read_ids(c, key, &expected, err);
    if (st == SA2_OK) {
        size_t n = expected.n < found->n ? expected.n : found->n;
        size_t i = 0;
        while (i < n && expected.data[i] == found->data[i])
            i++;
        if (i < n)
            check_differs(c, "%s[%zu]: %d expected, %d found", key, i, (int)expected.data[i],
                          (int)found->data[i]);
        if (expected.n != found->n)
            check_differs(c, "%s: %zu expected, %zu found", key, expected.n, found->n);
    }
    sa2_ids_free(&expected);
    return st;
}

sa2_status check_same_text(check_case *c, const char *key, const sa2_bytes *found, sa2_error *err)
{
    const char *text = NULL;
    size_t n = 0;
    sa2_status st = check_read_text(c, key, &text, &n, err);
    if (st != SA2_OK)
        return st;
    if (found->n != n || memcmp(sa2_bytes_text(found), text, n) != 0)
        check_differs(c, "%s: \"%.120s\" expected, \"%.120s\" found", key, text,
                      sa2_bytes_text(found));
    return SA2_OK;
}

/* ---- the tokenizer ---- */

sa2_status check_encode(check_case *c, sa2_error *err)
{
    const char *text = NULL;
    size_t n = 0;
    sa2_ids ids = {0};
    sa2_status st = check_read_text(c, "text", &text, &n, err);
    if (st == SA2_OK)
        st = sa2_encode(c->context->encoder, text, n, (sa2_span){0}, &ids, err);
    if (st == SA2_OK)
        st = check_same_ids(c, "ids", &ids, err);
    sa2_ids_free(&ids);
    return st;
}

sa2_status check_decode(check_case *c, sa2_error *err)
{
    bool skip_special = json_is_true(json_object_get(c->line, "skip_special"));
    sa2_ids ids = {0};
    sa2_bytes text = {0};
    sa2_status st = check_read_ids(c, "ids", &ids, err);
    if (st == SA2_OK)
        st = sa2_decode(sa2_encoder_tokenizer(c->context->encoder), ids.data, ids.n, skip_special,
                        &text, err);
    if (st == SA2_OK)
        st = check_same_text(c, "text", &text, err);
    sa2_ids_free(&ids);
    sa2_bytes_free(&text);
    return st;
}

/* ---- the file ---- */

typedef struct check_kind {
    const char *name;
    const char *keys[3]; /* all of them are there; the first kind that fits is meant */
    sa2_status (*run)(check_case *c, sa2_error *err);
} check_kind;

static const check_kind kinds[] = {
    {"decode", {"decode", "ids", "text"}, check_decode},
    {"request", {"messages", "request"}, check_request},
    {"prompt", {"messages", "prompt_ids"}, check_prompt},
    {"answer", {"spoken", "ids", "codes"}, check_answer},
    {"demo answer", {"ids", "text", "codes"}, check_demo_answer},
    {"history", {"tts_text", "tts_audio", "ids"}, check_history},
    {"encode", {"text", "ids"}, check_encode},
};

static const check_kind *kind_of(json_t *line)
{
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        bool fits = true;
        for (size_t k = 0; k < 3 && kinds[i].keys[k] != NULL; k++)
            fits = fits && json_object_get(line, kinds[i].keys[k]) != NULL;
        if (fits)
            return &kinds[i];
    }
    return NULL;
}

/* What the engine refuses in a case that should work is a difference, not the end of the run. */
static sa2_status run_case(const check_kind *kind, check_case *c, sa2_error *err)
{
    sa2_error refused = {0};
    sa2_status st = kind->run(c, &refused);
    if (st == SA2_ERR_NOMEM)
        return sa2_fail(err, st, "%s", refused.message);
    if (st != SA2_OK)
        check_differs(c, "%s", refused.message);
    return sa2_bytes_status(&c->difference, err);
}

static sa2_status check_line(const char *text, size_t n, const char *where,
                             const sa2_check_text_context *context, sa2_check_text_report report,
                             void *user, sa2_error *err)
{
    check_case c = {.context = context,
                    .is_release = context->special->end_of_text == RELEASE_END_OF_TEXT};
    sa2_status st = sa2_json_read(&c.line, text, n, err);
    if (st != SA2_OK)
        return sa2_wrap(err, st, "%s", where);
    const check_kind *kind = kind_of(c.line);
    if (kind == NULL) {
        st = sa2_fail(err, SA2_ERR_FORMAT, "%s: not a case of tokenizer or chat", where);
    } else {
        st = run_case(kind, &c, err);
        char name[600];
        snprintf(name, sizeof name, "%s %s", where, kind->name);
        if (st == SA2_OK)
            report(user, name, c.difference.n > 0 ? c.difference.data : NULL);
    }
    json_decref(c.line);
    sa2_bytes_free(&c.difference);
    return st;
}

sa2_status sa2_check_text_file(const char *path, const sa2_check_text_context *context,
                               sa2_check_text_report report, void *user, sa2_error *err)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        return sa2_fail(err, SA2_ERR_IO, "%s: %s", path, strerror(errno));
    sa2_status st = SA2_OK;
    char *line = NULL;
    size_t room = 0;
    int n_cases = 0;
    int number = 0;
    ssize_t n;
    while (st == SA2_OK && (n = getline(&line, &room, file)) >= 0) {
        char where[512];
        snprintf(where, sizeof where, "%s:%d", path, ++number);
        if (strspn(line, " \t\r\n") == (size_t)n)
            continue;
        st = check_line(line, (size_t)n, where, context, report, user, err);
        n_cases++;
    }
    if (st == SA2_OK && ferror(file))
        st = sa2_fail(err, SA2_ERR_IO, "%s: it cannot be read", path);
    else if (st == SA2_OK && n_cases == 0)
        st = sa2_fail(err, SA2_ERR_FORMAT, "%s: no case in it", path);
    free(line);
    fclose(file);
    return st;
}
