#include "tools/svg.h"

#include <math.h>
#include <string.h>

#include <utf8proc.h>

static const char small_text[] = "font-size='11' fill='#444'";

double sa2_svg_x(const sa2_svg_panel *p, double x)
{
    return p->left + p->width * (x - p->x_least) / (p->x_most - p->x_least);
}

double sa2_svg_y(const sa2_svg_panel *p, double y)
{
    return p->top + p->height * (p->y_most - y) / (p->y_most - p->y_least);
}

void sa2_svg_begin(FILE *out, int width, int height)
{
    fprintf(out,
            "<?xml version='1.0' encoding='UTF-8'?>\n"
            "<svg xmlns='http://www.w3.org/2000/svg' width='%d' height='%d' viewBox='0 0 %d %d' "
            "font-family='DejaVu Sans, Helvetica, Arial, sans-serif'>\n"
            "<rect width='%d' height='%d' fill='#fff'/>\n",
            width, height, width, height, width, height);
}

void sa2_svg_end(FILE *out)
{
    fprintf(out, "</svg>\n");
}

/* XML 1.0, section 2.2: the characters that a document may hold. */
static int is_xml(utf8proc_int32_t c)
{
    return c == '\t' || c == '\n' || c == '\r' || (c >= 0x20 && c != 0xfffe && c != 0xffff);
}

static void put_escaped(FILE *out, const char *text)
{
    static const char replacement[] = "\xef\xbf\xbd";
    size_t n = strlen(text);
    for (size_t i = 0; i < n;) {
        utf8proc_int32_t c;
        utf8proc_ssize_t used =
            utf8proc_iterate((const utf8proc_uint8_t *)text + i, (utf8proc_ssize_t)(n - i), &c);
        if (used < 1 || !is_xml(c))
            fputs(replacement, out);
        else if (c == '<')
            fputs("&lt;", out);
        else if (c == '>')
            fputs("&gt;", out);
        else if (c == '&')
            fputs("&amp;", out);
        else
            fwrite(text + i, 1, (size_t)used, out);
        i += used < 1 ? 1 : (size_t)used;
    }
}

void sa2_svg_text(FILE *out, double x, double y, const char *anchor, const char *style,
                  const char *text)
{
    fprintf(out, "<text x='%.1f' y='%.1f' text-anchor='%s' %s>", x, y, anchor, style);
    put_escaped(out, text);
    fprintf(out, "</text>\n");
}

double sa2_svg_step(double span, int most)
{
    double least = span / most, power = pow(10.0, floor(log10(least)));
    static const double factors[] = {1.0, 2.0, 5.0};
    for (size_t i = 0; i < sizeof factors / sizeof factors[0]; i++)
        if (factors[i] * power >= least * (1.0 - 1e-9))
            return factors[i] * power;
    return 10.0 * power;
}

void sa2_svg_title(const sa2_svg_panel *p, const char *title, const char *unit)
{
    char turned[128];
    double middle = p->top + p->height / 2.0, x = p->left - 48.0;
    sa2_svg_text(p->out, p->left, p->top - 7.0, "start", "font-size='13' fill='#111'", title);
    snprintf(turned, sizeof turned, "font-size='11' fill='#444' transform='rotate(-90 %.1f %.1f)'",
             x, middle);
    sa2_svg_text(p->out, x, middle, "middle", turned, unit);
}

static void put_line(const sa2_svg_panel *p, double x1, double y1, double x2, double y2)
{
    fprintf(p->out, "<path d='M%.1f %.1fL%.1f %.1f' stroke='#000' stroke-opacity='.13'/>\n", x1, y1,
            x2, y2);
}

/* The first or last step of an axis, one that an end of it just misses by rounding included. */
static int multiple(double steps, double (*rounded)(double))
{
    double nearest = round(steps);
    return (int)(fabs(steps - nearest) < 1e-9 ? nearest : rounded(steps));
}

void sa2_svg_x_axis(const sa2_svg_panel *p, double step, const char *label)
{
    char number[32];
    double bottom = p->top + p->height;
    int last = multiple(p->x_most / step, floor);
    for (int k = multiple(p->x_least / step, ceil); k <= last; k++) {
        double x = sa2_svg_x(p, k * step);
        put_line(p, x, p->top, x, bottom);
        snprintf(number, sizeof number, "%.6g", k * step);
        if (label != NULL)
            sa2_svg_text(p->out, x, bottom + 15.0, "middle", small_text, number);
    }
    if (label != NULL)
        sa2_svg_text(p->out, p->left + p->width / 2.0, bottom + 32.0, "middle", small_text, label);
}

void sa2_svg_y_mark(const sa2_svg_panel *p, double y, const char *text)
{
    double at = sa2_svg_y(p, y);
    put_line(p, p->left, at, p->left + p->width, at);
    sa2_svg_text(p->out, p->left - 6.0, at + 4.0, "end", small_text, text);
}

void sa2_svg_y_axis(const sa2_svg_panel *p, double step)
{
    char number[32];
    int last = multiple(p->y_most / step, floor);
    for (int k = multiple(p->y_least / step, ceil); k <= last; k++) {
        snprintf(number, sizeof number, "%.6g", k * step);
        sa2_svg_y_mark(p, k * step, number);
    }
}

void sa2_svg_frame(const sa2_svg_panel *p)
{
    fprintf(p->out,
            "<rect x='%.1f' y='%.1f' width='%.1f' height='%.1f' fill='none' stroke='#444'/>\n",
            p->left, p->top, p->width, p->height);
}
