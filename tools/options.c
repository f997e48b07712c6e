#include "tools/options.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

static void print_option(const sa2_option *o)
{
    char left[64];
    char letter[8] = "    ";
    if (o->letter != 0)
        snprintf(letter, sizeof letter, "-%c, ", o->letter);
    snprintf(left, sizeof left, "%s--%s%s%s", letter, o->name, o->value != NULL ? " " : "",
             o->value != NULL ? o->value : "");
    printf("  %-34s %s\n", left, o->help);
}

static void print_help(const sa2_usage_text *usage)
{
    printf("usage: %s %s\n\n%s\n", usage->name, usage->synopsis, usage->summary);
    for (int g = 0; g < usage->n_groups; g++) {
        printf("\n%s:\n", usage->groups[g].title);
        for (const sa2_option *o = usage->groups[g].options; o->name != NULL; o++)
            print_option(o);
    }
    printf("\nExample:\n%s\n", usage->example);
}

int sa2_options_refuse(const sa2_usage_text *usage, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fprintf(stderr, "%s: ", usage->name);
    vfprintf(stderr, format, args);
    va_end(args);
    fprintf(stderr, "\n(%s --help)\n", usage->name);
    return EX_USAGE;
}

static const sa2_option *find_name(const sa2_usage_text *usage, const char *name, size_t n)
{
    for (int g = 0; g < usage->n_groups; g++)
        for (const sa2_option *o = usage->groups[g].options; o->name != NULL; o++)
            if (strlen(o->name) == n && memcmp(o->name, name, n) == 0)
                return o;
    return NULL;
}

static const sa2_option *find_letter(const sa2_usage_text *usage, char letter)
{
    for (int g = 0; g < usage->n_groups; g++)
        for (const sa2_option *o = usage->groups[g].options; o->name != NULL; o++)
            if (o->letter == letter)
                return o;
    return NULL;
}

/* The whole of the text must be a number in range. */
static bool read_whole(const char *text, long long least, long long most, long long *number)
{
    char *end;
    errno = 0;
    *number = strtoll(text, &end, 10);
    return end != text && *end == '\0' && errno == 0 && *number >= least && *number <= most;
}

static bool read_bytes(const char *text, size_t *bytes)
{
    char *end;
    errno = 0;
    double number = strtod(text, &end);
    if (end == text || errno != 0 || !(number >= 0.0))
        return false;
    const char *const units = "KMGT";
    const char *unit = *end != '\0' ? strchr(units, *end) : NULL;
    if (unit != NULL) {
        number *= pow(1024.0, (double)(unit - units + 1));
        end++;
    }
    if (*end != '\0' || number > 1e18)
        return false;
    *bytes = (size_t)number;
    return true;
}

/* False when `text` is no value of the option's kind. */
static bool store(const sa2_option *o, const char *text)
{
    long long whole = 0;
    switch (o->kind) {
    case SA2_OPTION_FLAG:
        *(bool *)o->to = true;
        return true;
    case SA2_OPTION_INT:
        if (!read_whole(text, -2147483647, 2147483647, &whole))
            return false;
        *(int *)o->to = (int)whole;
        return true;
    case SA2_OPTION_INT64:
        if (!read_whole(text, INT64_MIN, INT64_MAX, &whole))
            return false;
        *(int64_t *)o->to = whole;
        return true;
    case SA2_OPTION_BYTES:
        return read_bytes(text, o->to);
    case SA2_OPTION_FLOAT: {
        char *end;
        float number = strtof(text, &end);
        if (end == text || *end != '\0' || !isfinite(number))
            return false;
        *(float *)o->to = number;
        return true;
    }
    case SA2_OPTION_TEXT:
        *(const char **)o->to = text;
        return true;
    case SA2_OPTION_LIST: {
        sa2_option_list *list = o->to;
        if (list->n == SA2_OPTION_LIST_MAX)
            return false;
        list->values[list->n++] = text;
        return true;
    }
    }
    return false;
}

static const char *const kind_names[] = {
    [SA2_OPTION_FLAG] = "nothing",
    [SA2_OPTION_INT] = "a whole number",
    [SA2_OPTION_INT64] = "a whole number",
    [SA2_OPTION_BYTES] = "a size such as 512M",
    [SA2_OPTION_FLOAT] = "a number",
    [SA2_OPTION_TEXT] = "a text",
    [SA2_OPTION_LIST] = "at most 256 values",
};

/* One argument that begins with a dash; *i moves past its value. */
static int read_option(const sa2_usage_text *usage, int argc, char **argv, int *i)
{
    const char *argument = argv[*i];
    const char *equals = NULL;
    const sa2_option *o;
    if (argument[1] == '-') {
        equals = strchr(argument, '=');
        o = find_name(usage, argument + 2,
                      equals != NULL ? (size_t)(equals - argument - 2) : strlen(argument + 2));
    } else {
        o = argument[2] == '\0' ? find_letter(usage, argument[1]) : NULL;
    }
    if (o == NULL)
        return sa2_options_refuse(usage, "%s: no such option", argument);
    if (o->kind == SA2_OPTION_FLAG && equals != NULL)
        return sa2_options_refuse(usage, "--%s takes no value", o->name);
    const char *value = equals != NULL ? equals + 1 : NULL;
    if (o->kind != SA2_OPTION_FLAG && value == NULL) {
        if (*i + 1 >= argc)
            return sa2_options_refuse(usage, "--%s: %s expected", o->name, kind_names[o->kind]);
        value = argv[++*i];
    }
    if (!store(o, value))
        return sa2_options_refuse(usage, "--%s: %s expected, \"%s\" found", o->name,
                                  kind_names[o->kind], value);
    return EX_OK;
}

bool sa2_options_read(const sa2_usage_text *usage, int argc, char **argv, int *n, int *exit_code)
{
    *n = 0;
    bool options = true;
    for (int i = 1; i < argc; i++) {
        const char *argument = argv[i];
        if (options && strcmp(argument, "--") == 0) {
            options = false;
        } else if (options && (strcmp(argument, "--help") == 0 || strcmp(argument, "-h") == 0)) {
            print_help(usage);
            *exit_code = EX_OK;
            return false;
        } else if (options && argument[0] == '-' && argument[1] != '\0') {
            *exit_code = read_option(usage, argc, argv, &i);
            if (*exit_code != EX_OK)
                return false;
        } else {
            argv[(*n)++] = argv[i];
        }
    }
    return true;
}
