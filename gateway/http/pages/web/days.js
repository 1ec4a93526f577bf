// Chats in groups, by the day on which they were last used. No page.

const DAY = 24 * 60 * 60 * 1000;

/** Chats, the newest first, as `{name, chats}` for each group that has any. */
export function byDay(chats, now) {
  const groups = new Map();
  const today = new Date(now).setHours(0, 0, 0, 0);
  for (const chat of chats) {
    const name = nameOf(chat.used, today);
    if (!groups.has(name)) groups.set(name, { name, chats: [] });
    groups.get(name).chats.push(chat);
  }
  return [...groups.values()];
}

function nameOf(used, today) {
  if (used >= today) return "Today";
  // Days are an hour shorter or longer where clocks are put forward or back.
  const ago = Math.round((today - new Date(used).setHours(0, 0, 0, 0)) / DAY);
  if (ago <= 1) return "Yesterday";
  if (ago <= 7) return "Previous 7 days";
  if (ago <= 30) return "Previous 30 days";
  return new Date(used).toLocaleDateString("en", { month: "long", year: "numeric" });
}
