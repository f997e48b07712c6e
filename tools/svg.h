/* svg.h - pictures in SVG 1.1 text: a chart's frame, its axes, and text that may hold anything.
 *
 * A panel maps numbers to a rectangle of the page; y grows upwards in numbers and downwards on the page.
 */
#ifndef SA2_TOOLS_SVG_H
#define SA2_TOOLS_SVG_H

#include <stdio.h>

typedef struct sa2_svg_panel {
    FILE *out;
    double left, top, width, height; /* on the page, in pixels */
    double x_least, x_most, y_least, y_most;
} sa2_svg_panel;

double sa2_svg_x(const sa2_svg_panel *panel, double x);
double sa2_svg_y(const sa2_svg_panel *panel, double y);

/* White page with a font for all text; the end of it. */
void sa2_svg_begin(FILE *out, int width, int height);
void sa2_svg_end(FILE *out);

/* `style` is attributes, such as "font-size='11' fill='#555'". Bytes that XML cannot hold become U+FFFD. */
void sa2_svg_text(FILE *out, double x, double y, const char *anchor, const char *style,
                  const char *text);

/* 1, 2 or 5 times a power of ten, so that at most `most` steps cover `span`, which is above 0. */
double sa2_svg_step(double span, int most);

/* Title above the panel and, turned, what its y axis counts; grid lines with numbers at multiples of a step. */
void sa2_svg_title(const sa2_svg_panel *panel, const char *title, const char *unit);
void sa2_svg_x_axis(const sa2_svg_panel *panel, double step,
                    const char *label); /* NULL: lines only */
void sa2_svg_y_axis(const sa2_svg_panel *panel, double step);

/* One line with its number, for an axis that is not even. */
void sa2_svg_y_mark(const sa2_svg_panel *panel, double y, const char *text);

/* The border, drawn last. */
void sa2_svg_frame(const sa2_svg_panel *panel);

#endif
