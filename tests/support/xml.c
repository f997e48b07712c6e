#include "tests/support/xml.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <utf8proc.h>

enum { MAX_DEPTH = 32, MAX_ATTRIBUTES = 32 };

typedef struct span {
    const char *at;
    size_t n;
} span;

typedef struct reader {
    const char *text, *at, *end;
    span open[MAX_DEPTH];
    int depth, n_roots;
} reader;

static void refuse(const reader *r, const char *why)
{
    fail_msg("XML, byte %td: %s: %.40s", r->at - r->text, why, r->at);
}

static span name(reader *r)
{
    span s = {.at = r->at};
    while (r->at < r->end &&
           (strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ:-0123456789", *r->at)) !=
               NULL)
        r->at++;
    s.n = (size_t)(r->at - s.at);
    if (s.n == 0)
        refuse(r, "a name expected");
    return s;
}

static bool same(span a, span b)
{
    return a.n == b.n && memcmp(a.at, b.at, a.n) == 0;
}

static bool take(reader *r, const char *what)
{
    size_t n = strlen(what);
    bool there = (size_t)(r->end - r->at) >= n && memcmp(r->at, what, n) == 0;
    r->at += there ? n : 0;
    return there;
}

/* Text up to `stop`. */
static void characters(reader *r, char stop)
{
    while (r->at < r->end && *r->at != stop) {
        if (*r->at == '<')
            refuse(r, "\"<\" in text");
        if (*r->at == '&') {
            if (!take(r, "&lt;") && !take(r, "&gt;") && !take(r, "&amp;"))
                refuse(r, "no entity");
        } else {
            r->at++;
        }
    }
}

static void attributes(reader *r)
{
    span seen[MAX_ATTRIBUTES];
    for (int n = 0; take(r, " "); n++) {
        if (n == MAX_ATTRIBUTES)
            refuse(r, "too many attributes");
        seen[n] = name(r);
        for (int i = 0; i < n; i++)
            if (same(seen[i], seen[n]))
                refuse(r, "an attribute twice");
        if (!take(r, "='"))
            refuse(r, "a quoted value expected");
        characters(r, '\'');
        if (!take(r, "'"))
            refuse(r, "a value without end");
    }
}

static void element(reader *r)
{
    if (take(r, "/")) {
        span s = name(r);
        if (r->depth == 0 || !same(s, r->open[--r->depth]) || !take(r, ">"))
            refuse(r, "an end that belongs to nothing");
        return;
    }
    span s = name(r);
    r->n_roots += r->depth == 0;
    attributes(r);
    if (take(r, "/>"))
        return;
    if (!take(r, ">") || r->depth == MAX_DEPTH)
        refuse(r, "the end of a tag expected");
    r->open[r->depth++] = s;
}

static void assert_clean_utf8(const reader *r)
{
    for (const char *at = r->text; at < r->end;) {
        utf8proc_int32_t c;
        utf8proc_ssize_t n = utf8proc_iterate((const utf8proc_uint8_t *)at, r->end - at, &c);
        if (n < 1 || (c < 0x20 && c != '\n') || c == 0xfffe || c == 0xffff)
            fail_msg("XML, byte %td: not a character of XML", at - r->text);
        at += n;
    }
}

void assert_well_formed(const char *text, size_t n)
{
    reader r = {.text = text, .at = text, .end = text + n};
    assert_clean_utf8(&r);
    if (!take(&r, "<?xml version='1.0' encoding='UTF-8'?>\n"))
        refuse(&r, "the declaration expected");
    while (r.at < r.end) {
        if (take(&r, "<"))
            element(&r);
        else
            characters(&r, '<');
    }
    if (r.depth != 0 || r.n_roots != 1)
        refuse(&r, "one root with an end expected");
}
