// A mod of the App Server, put into its state directory by the gateway (gateway/letta/embedded/process.py), which fills in the
// notes that it knows its own by (gateway/letta/notes.py).
//
// The App Server puts parts of its own in front of what a person says: the host's name, paths, time zone, ids. The
// people of a gateway are no users of that host. What the gateway itself sends stays (gateway/letta/transcript.py):
// parts known by their beginning, and the last one, which is the person's own words even if they look like a reminder.
const OURS = __BEGINNINGS__;

function isReminder(part) {
  if (part?.type !== "text" || OURS.some((beginning) => part.text.startsWith(beginning))) return false;
  const text = part.text.trim();
  return text.startsWith(__REMINDER__) && text.endsWith(__REMINDER_END__);
}

function withoutReminders(parts) {
  const first = parts.findIndex((part) => !isReminder(part));
  return parts.slice(first < 0 ? -1 : first);
}

export default function activate(letta) {
  letta.events.on("turn_start", (event) => {
    // Only the first message of a person gets such parts.
    const message = event.input.find(({ role }) => role === "user");
    if (Array.isArray(message?.content)) message.content = withoutReminders(message.content);
  });
}
