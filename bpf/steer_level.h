/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* steer_level: the level of the ladder that the program is compiled for: 2, 3 or 4 */
#ifndef STEER_LEVEL_H
#define STEER_LEVEL_H

#ifndef STEER_LEVEL
#define STEER_LEVEL 3
#endif

#endif
